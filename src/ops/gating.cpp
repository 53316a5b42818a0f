// Both gates are one function over their kernels; other types and devices take plain tensor code.
#include "ops/gating.h"

#include <ATen/Parallel.h>

#include "kernels/gating.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 8192;  // elements a task

struct Swiglu {
  static Tensor plain(const Tensor& up, const Tensor& gate) { return torch::silu(gate) * up; }
  static constexpr auto kForward = kernels::swiglu_forward;
  static constexpr auto kBackward = kernels::swiglu_backward;
};

struct SigmoidGate {
  static Tensor plain(const Tensor& x, const Tensor& gate) { return x * torch::sigmoid(gate); }
  static constexpr auto kForward = kernels::sigmoid_gate_forward;
  static constexpr auto kBackward = kernels::sigmoid_gate_backward;
};

/// The kernels of one gate as an op on contiguous float32 CPU tensors.
template <class Gate>
struct GateFunction : torch::autograd::Function<GateFunction<Gate>> {
  static Tensor forward(AutogradContext* context, const Tensor& given_x, const Tensor& given_gate) {
    const Tensor x = given_x.contiguous(), gate = given_gate.contiguous();
    const Tensor y = torch::empty_like(x);
    context->save_for_backward({x, gate});
    const kernels::GateParams params{.x = x.const_data_ptr<float>(),
                                     .gate = gate.const_data_ptr<float>(),
                                     .y = y.data_ptr<float>()};
    at::parallel_for(0, x.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { Gate::kForward(params, begin, end); });
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor dy = gradients[0].contiguous();
    const Tensor dx = torch::empty_like(dy), dgate = torch::empty_like(dy);
    const kernels::GateBackwardParams params{.x = saved[0].template const_data_ptr<float>(),
                                             .gate = saved[1].template const_data_ptr<float>(),
                                             .dy = dy.template const_data_ptr<float>(),
                                             .dx = dx.template data_ptr<float>(),
                                             .dgate = dgate.template data_ptr<float>()};
    at::parallel_for(0, dy.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { Gate::kBackward(params, begin, end); });
    return {dx, dgate};
  }
};

template <class Gate>
Tensor apply(const Tensor& x, const Tensor& gate) {
  return suits_cpu_kernels({x, gate}) ? GateFunction<Gate>::apply(x, gate) : Gate::plain(x, gate);
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_shape("swiglu: up", up, gate.sizes());
  return apply<Swiglu>(up, gate);
}

Tensor sigmoid_gate(const Tensor& x, const Tensor& gate) {
  check_shape("sigmoid_gate: gate", gate, x.sizes());
  return apply<SigmoidGate>(x, gate);
}

}  // namespace hypenet
