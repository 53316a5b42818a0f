// AWQ (arXiv 2306.00978, section 3.2): inputs that are large on average get columns of finer steps.
// The columns are multiplied by powers of the inputs' sizes before they are rounded, and what makes
// the inputs is divided by the same (quantize/input_folds.h).
#pragma once

#include "lowbit/rounding.h"
#include "quantize/input_folds.h"

namespace hypenet {

/// What the factors of a fold are chosen by.
struct ScalingInputs {
  Tensor sizes = {};                 // float64 [K]: the mean squares of the inputs
  Tensor sample = {};                // float32 [n, K]: some of them
  std::vector<Tensor> weights = {};  // [N, K] each: the readers that are quantised
};

/// Of s_p = a_p^alpha, a_p the root of the mean square of what output p becomes, with alpha of 0,
/// 1/20 .. 19/20, and s divided by the root of its largest times its least: the s with the least
/// error of the outputs of all weights for the sample, sum |X (W - round(W s) / s)^T|^2, where the
/// columns of W are multiplied by s as storable_factors makes it, and rounding is to the nearest.
/// float32 [P]; undefined where that is all ones (alpha 0).
Tensor find_factors(const InputFold& fold, const ScalingInputs& inputs, const RoundingForm& form,
                    torch::ScalarType stored);

}  // namespace hypenet
