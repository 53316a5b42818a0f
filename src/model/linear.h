// A linear layer whose parameters stay in their own type while it computes in its input's.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <vector>

#include "model/norm.h"
#include "ops/linear.h"
#include "ops/linear_step.h"

namespace hypenet {

/// y = x W^T (+ b). With float32 parameters and bfloat16 input the product runs in bfloat16 and the
/// gradient arrives in float32: the parameters are the master weights. The product reads the copies
/// where there are some (CausalLmImpl::prepare), else casts the parameters each time.
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool bias);
  Tensor forward(const Tensor& x) const {
    if (on_input) on_input(x);
    return apply_linear(x, weights);
  }

  LinearWeights weights;
  /// Told what forwards (project among them) multiply, before they do; empty: nobody is.
  std::function<void(const Tensor& x)> on_input;
};
TORCH_MODULE(Linear);

/// What each layer makes of one x, in their order; undefined for an empty layer. As the layers'
/// forwards, but the gradients that they give x are summed by the products (ops/linear.h).
std::vector<Tensor> project(const Tensor& x, std::span<const Linear> layers);

/// The rows of an inference step as a part of a block reads them: norm(h), h [N, D] the residual.
/// Not computed yet, since the kernels of linear layers do it on their way.
struct Normed {
  Tensor h;
  RmsNorm norm;

  Tensor value() const { return norm->forward(h); }

  /// What the kernels read: h and the norm, or what a norm of another kind made of h.
  LinearStepInput input() const {
    if (norm->bias.defined()) return {.x = value()};
    return {.x = h, .norm_weight = norm->weight, .eps = norm->eps()};
  }
};

/// What a part of a block adds to the residual in an inference step: projection(norm(x [N, in]) *
/// sigmoid(gate [N, in])), norm and gate where they are there. Not computed yet, since the kernel
/// of the product does it all, and adds.
struct StepOutput {
  Tensor x;
  RmsNorm norm{nullptr};
  Tensor gate = {};
  Linear projection{nullptr};
};

/// What each layer makes of an inference step's rows; undefined for an empty layer. No autograd.
std::vector<Tensor> project_step(const Normed& x, std::span<const Linear> layers);

/// layer(x) of rows x [N, in] in an inference step, by its kernels. No autograd.
Tensor apply_step(const Tensor& x, const Linear& layer);

/// h [N, D] += output, in place. No autograd.
void add_step(const Tensor& h, const StepOutput& output);

/// project or project_step of a list: const auto [q, k] = project(x, {q_proj_, k_proj_}).
template <size_t count>
std::array<Tensor, count> project(const Tensor& x, const Linear (&layers)[count]) {
  const std::vector<Tensor> outputs = project(x, std::span<const Linear>(layers));
  std::array<Tensor, count> result;
  std::copy(outputs.begin(), outputs.end(), result.begin());
  return result;
}
template <size_t count>
std::array<Tensor, count> project_step(const Normed& x, const Linear (&layers)[count]) {
  const std::vector<Tensor> outputs = project_step(x, std::span<const Linear>(layers));
  std::array<Tensor, count> result;
  std::copy(outputs.begin(), outputs.end(), result.begin());
  return result;
}

}  // namespace hypenet
