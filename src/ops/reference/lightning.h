// The defining equations of lightning attention, for tests: run them in float64.
#pragma once

#include "ops/lightning.h"

namespace hypenet::reference {

/// Token by token, as the paper writes it (docs/kernels.md); plain differentiable tensor code.
LightningOutput lightning_recurrent(const LightningInput& input);

/// The quadratic form: o = scale * ((q k^T) * D) v with D_ij = exp(-decay (i - j)) for j <= i, plus
/// the initial state.
LightningOutput lightning_parallel(const LightningInput& input);

}  // namespace hypenet::reference
