// The linear recurrence by its defining equations, for tests: run them in float64. Plain
// differentiable tensor code.
#pragma once

#include "ops/recurrence.h"

namespace hypenet::reference {

/// Token by token, as the header of ops/recurrence.h writes it.
RecurrenceOutput recurrence(const Recurrence& input);

/// All tokens at once. With G_i the sum of -decay up to token i, L_ij = beta_i (k_i exp(G_i - G_j)
/// k_j^T) for j < i and P_ij the same of q_i for j <= i, without beta: the rows written are
/// U = (I + [is_delta] L)^-1 diag(beta) (v - [is_delta] k exp(G) S), and o = scale (P U + q exp(G)
/// S).
RecurrenceOutput recurrence_quadratic(const Recurrence& input);

}  // namespace hypenet::reference
