// Results of recurrences beside what they are held to.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <vector>

namespace hypenet::testing_support {

using torch::Tensor;

/// The largest difference, of the largest entry (or of one hundredth where all are small).
inline double largest_error(const Tensor& found, const Tensor& expected) {
  const Tensor error = (found.to(torch::kFloat64) - expected.to(torch::kFloat64)).abs().max();
  return (error / expected.abs().max().clamp_min(0.01)).item<double>();
}

inline void expect_close(const std::vector<Tensor>& found, const std::vector<Tensor>& expected,
                         double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << "tensor " << i;
    EXPECT_LT(largest_error(found[i], expected[i]), tolerance) << "tensor " << i;
  }
}

/// `gradients` of the scalar `loss()` in the float64 `tensors`, which it reads, beside what a step
/// along a random direction changes.
template <class Loss>
void expect_gradients_of_differences(const std::vector<Tensor*>& tensors,
                                     const std::vector<Tensor>& gradients, const Loss& loss,
                                     double step) {
  const torch::NoGradGuard no_grad;
  ASSERT_EQ(tensors.size(), gradients.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    torch::manual_seed(11);
    const Tensor start = *tensors[i], direction = torch::randn_like(start);
    const double expected = (gradients[i] * direction).sum().template item<double>();
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      *tensors[i] = start + sign * step * direction;
      difference += sign * loss().template item<double>() / (2 * step);
    }
    *tensors[i] = start;
    EXPECT_NEAR(difference, expected, 1e-6 * (1 + std::abs(expected))) << "tensor " << i;
  }
}

}  // namespace hypenet::testing_support
