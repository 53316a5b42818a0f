// Whether an op's backward may be asked for, so that a forward without one keeps nothing.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <initializer_list>

namespace hypenet {

/// True when autograd records and one of these tensors is part of its graph.
inline bool needs_gradient(std::initializer_list<torch::Tensor> tensors) {
  return torch::GradMode::is_enabled() && std::ranges::any_of(tensors, [](const torch::Tensor& x) {
           return x.defined() && x.requires_grad();
         });
}

}  // namespace hypenet
