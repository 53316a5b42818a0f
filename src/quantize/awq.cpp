// Twenty roundings of each matrix, and as many products with the sample: a fraction of what the
// forwards of calibration take.
#include "quantize/awq.h"

#include <algorithm>
#include <limits>

#include "ops/linear.h"
#include "quantize/clip_search.h"

namespace hypenet {
namespace {

constexpr int kSteps = 20;

/// Roots of mean squares as the producer has them: over all columns that an output becomes.
Tensor sizes_of_outputs(const InputFold& fold, const Tensor& sizes) {
  const int64_t P = fold.parameters.begin()->second.size(0);
  const Tensor sums =
      torch::zeros({P}, torch::kFloat64).index_add_(0, fold.output_of_column, sizes);
  const Tensor roots = (sums * P / sizes.size(0)).sqrt();
  // An input that is always 0 would ask for a column of nothing.
  return roots.clamp_min(1e-4 * roots.mean().item<double>()).clamp_min(1e-30);
}

Tensor factors_of(const Tensor& sizes, double alpha) {
  const Tensor powers = sizes.pow(alpha);
  return (powers / (powers.max() * powers.min()).sqrt()).to(torch::kFloat32);
}

/// sum |X (W - round(W s) / s)^T|^2 over the weights.
double output_error(const ScalingInputs& inputs, const Tensor& columns, const RoundingForm& form) {
  double sum = 0;
  for (const Tensor& weight : inputs.weights) {
    const Tensor off = nearest_values(weight * columns, form).div_(columns).sub_(weight);
    sum += product(inputs.sample, off).square().sum(torch::kFloat64).item<double>();
  }
  return sum;
}

}  // namespace

Tensor find_factors(const InputFold& fold, const ScalingInputs& inputs, const RoundingForm& form,
                    torch::ScalarType stored) {
  const Tensor sizes = sizes_of_outputs(fold, inputs.sizes);
  Tensor best;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kSteps; ++i) {
    const Tensor factors =
        i == 0 ? torch::ones(sizes.sizes(), torch::kFloat32)
               : storable_factors(fold, factors_of(sizes, static_cast<double>(i) / kSteps), stored);
    const double error = output_error(inputs, column_factors(fold, factors), form);
    if (error >= least) continue;
    least = error;
    best = i == 0 ? Tensor() : factors;
  }
  return best;
}

}  // namespace hypenet
