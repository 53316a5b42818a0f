// The mean squared error of two tensors and its gradient, in one step and without autograd.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

struct SquaredError {
  Tensor parts;     // float32 (float64 for float64 input), of a fixed shape; their sum is the mean
  Tensor gradient;  // factor * dmean/doutput, output's shape and type
};

/// mean((output - expected)^2) of tensors of one shape and type, in float32 or float64.
SquaredError mean_squared_error(const Tensor& output, const Tensor& expected, double factor = 1);

}  // namespace hypenet
