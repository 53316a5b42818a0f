// Where a model's numbers overflow.
#pragma once

#include <string>

#include "model/causal_lm.h"

namespace hypenet {

/// The first layer ("embedding", "layer 3 mixer", "layer 3 mlp", "final norm") whose output on ids
/// [B, T] is not finite; empty when all are.
std::string first_nonfinite_layer(CausalLm& model, const Tensor& ids);

}  // namespace hypenet
