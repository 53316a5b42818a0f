// Activation checkpointing: a part of the model whose inner tensors are not kept for backward but
// computed again there.
#pragma once

#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <functional>

namespace hypenet {

using torch::Tensor;

/// block(x), of which only x is kept until backward; there `block` runs a second time, so that the
/// gradients are those of a plain call. Gradients of the parameters that `block` uses are added to
/// them directly, as backward() does: torch::autograd::grad does not find them. `block` has to give
/// the same result both times. Costs one more forward of the block; may be recorded in a graph.
Tensor checkpointed(const Tensor& x, std::function<Tensor(const Tensor& x)> block);

}  // namespace hypenet
