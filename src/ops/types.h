// What the ops of this room share: the type sums are formed in, and the checks of shapes at their
// doors.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <initializer_list>

#include "base/error.h"

namespace hypenet {

using torch::Tensor;

/// The type that sums are formed in: float64 for float64, float32 for everything else.
inline torch::ScalarType sum_type(const Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

/// True when all of these are float32 tensors on the CPU, which the kernels of kernels/cpu take.
inline bool suits_cpu_kernels(std::initializer_list<Tensor> tensors) {
  return std::ranges::all_of(
      tensors, [](const Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat32; });
}

/// Throws Error "<place>: expected shape [..], found [..]" unless x has exactly this shape.
inline void check_shape(const char* place, const Tensor& x, torch::IntArrayRef shape) {
  HYPENET_CHECK(x.defined(), place, ": expected shape ", shape, ", found no tensor");
  HYPENET_CHECK(x.sizes() == shape, place, ": expected shape ", shape, ", found ", x.sizes());
}

/// Throws Error unless x has the type and the device of `like`.
inline void check_alike(const char* place, const Tensor& x, const Tensor& like) {
  HYPENET_CHECK(x.scalar_type() == like.scalar_type(), place, ": expected type ",
                like.scalar_type(), ", found ", x.scalar_type());
  HYPENET_CHECK(x.device() == like.device(), place, ": expected device ", like.device(), ", found ",
                x.device());
}

}  // namespace hypenet
