// What the files of cases share: how a case is made of a call, its sizes and its inputs.
#pragma once

#include <torch/autograd.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "bench/kernel_cases.h"
#include "ops/form.h"

namespace hypenet {

using Tensors = std::vector<Tensor>;

inline constexpr double kEps = 1e-6, kRopeTheta = 1e6;

/// The call, if a kernel takes its inputs: tensor code's time would stand as the kernel's.
inline KernelCall by_kernel(Form form, KernelCall call) {
  HYPENET_CHECK(form != Form::kComposed, "bench: expected inputs that a kernel takes");
  return call;
}

/// An op on inputs that it is differentiable in, and the form that takes them.
struct DifferentiableCall {
  Tensors inputs;
  std::function<Tensors(const Tensors&)> op;
  std::function<Form(const Tensors&)> form;
};

inline KernelCall forward_call(const DifferentiableCall& call) {
  return by_kernel(call.form(call.inputs), [call] {
    const torch::NoGradGuard no_grad;
    return call.op(call.inputs);
  });
}

inline KernelCall forward_backward_call(const DifferentiableCall& call) {
  Tensors gradients;
  for (const Tensor& output : forward_call(call)()) gradients.push_back(torch::randn_like(output));
  return [call, gradients] {
    // Leaves of this call alone: autograd ties a leaf to the stream of its first use, and that
    // would be the stream of the untimed call and not the one that records.
    Tensors leaves;
    for (const Tensor& input : call.inputs) leaves.push_back(input.detach().requires_grad_());
    return torch::autograd::grad(call.op(leaves), leaves, gradients);
  };
}

inline double product_of(std::initializer_list<int64_t> factors) {
  double product = 1;
  for (const int64_t factor : factors) product *= static_cast<double>(factor);
  return product;
}

/// Types and sizes of the inputs that the cases make.
struct InputSizes {
  KernelSizes sizes;

  torch::TensorOptions options() const {
    return torch::TensorOptions().device(sizes.device).dtype(sizes.type());
  }
  torch::TensorOptions wide_options() const { return options().dtype(torch::kFloat32); }
  double element_bytes() const { return static_cast<double>(c10::elementSize(sizes.type())); }
  /// Of a number of tokens, rows or words: all, or in a quick run a 128th.
  int64_t part(int64_t n) const { return sizes.is_quick ? std::max<int64_t>(16, n / 128) : n; }
  int64_t batch(int64_t B) const { return sizes.is_quick ? std::max<int64_t>(1, B / 8) : B; }
};

/// Collects the cases. What makes a case keeps the sizes alone: a copy of the cases would copy all
/// that they keep.
struct Cases : InputSizes {
  std::vector<KernelCase> all = {};

  void add(std::string name, std::string shape, KernelWork work, std::function<KernelCall()> make) {
    all.push_back({std::move(name), std::move(shape), work, std::move(make)});
  }
  void add_both(const std::string& name, const std::string& shape, KernelWork forward,
                KernelWork both, const std::function<DifferentiableCall()>& make) {
    add(name, shape, forward, [make] { return forward_call(make()); });
    add(name + " + backward", shape, both, [make] { return forward_backward_call(make()); });
  }
};

/// Those of an inference step, which step_cases.cpp has.
void add_step_cases(Cases& cases);

}  // namespace hypenet
