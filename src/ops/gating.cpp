// Both gates are one function over their kernels; other types and devices take plain tensor code.
#include "ops/gating.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/autograd.h>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gradient.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 8192;  // elements a task

struct Swiglu {
  static Tensor composed(const Tensor& up, const Tensor& gate) { return torch::silu(gate) * up; }
  static constexpr auto kForward = &kernels::swiglu;
  static constexpr auto kBackward = &kernels::swiglu_backward;
  static constexpr auto kDeviceForward = &kernels::DeviceKernels::swiglu;
  static constexpr auto kDeviceBackward = &kernels::DeviceKernels::swiglu_backward;
};

struct SigmoidGate {
  static Tensor composed(const Tensor& x, const Tensor& gate) { return x * torch::sigmoid(gate); }
  static constexpr auto kForward = &kernels::sigmoid_gate;
  static constexpr auto kBackward = &kernels::sigmoid_gate_backward;
  static constexpr auto kDeviceForward = &kernels::DeviceKernels::sigmoid_gate;
  static constexpr auto kDeviceBackward = &kernels::DeviceKernels::sigmoid_gate_backward;
};

/// One pass over the elements of x, by its device's kernel.
template <class Params, class Device, class Cpu>
void run(const Tensor& x, const Params& params, Device device, Cpu cpu) {
  if (x.is_cuda()) {
    const c10::DeviceGuard on_device(x.device());
    return throw_unless_ok("gate", (kernels::device_kernels().*device)(params, current_stream(x)));
  }
  at::parallel_for(0, params.count, kGrain,
                   [&](int64_t begin, int64_t end) { cpu(params, begin, end); });
}

/// x and gate are contiguous, of one type.
template <class Gate>
Tensor forward(const Tensor& x, const Tensor& gate) {
  const Tensor y = torch::empty_like(x);
  const kernels::GateParams params{.x = x.const_data_ptr(),
                                   .gate = gate.const_data_ptr(),
                                   .y = y.mutable_data_ptr(),
                                   .count = x.numel(),
                                   .type = kernel_type(x)};
  run(x, params, Gate::kDeviceForward, Gate::kForward);
  return y;
}

/// The gradients of x and gate; all tensors are contiguous, of one type.
template <class Gate>
variable_list backward(const Tensor& x, const Tensor& gate, const Tensor& dy) {
  const Tensor dx = torch::empty_like(x), dgate = torch::empty_like(x);
  const kernels::GateBackwardParams params{.x = x.const_data_ptr(),
                                           .gate = gate.const_data_ptr(),
                                           .dy = dy.const_data_ptr(),
                                           .dx = dx.mutable_data_ptr(),
                                           .dgate = dgate.mutable_data_ptr(),
                                           .count = x.numel(),
                                           .type = kernel_type(x)};
  run(x, params, Gate::kDeviceBackward, Gate::kBackward);
  return {dx, dgate};
}

template <class Gate>
struct GateFunction : torch::autograd::Function<GateFunction<Gate>> {
  static Tensor forward(AutogradContext* context, const Tensor& given_x, const Tensor& given_gate) {
    const Tensor x = given_x.contiguous(), gate = given_gate.contiguous();
    context->save_for_backward({x, gate});
    return hypenet::forward<Gate>(x, gate);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    return hypenet::backward<Gate>(saved[0], saved[1], gradients[0].contiguous());
  }
};

template <class Gate>
Tensor apply(const Tensor& x, const Tensor& gate) {
  if (form_of_gate(x, gate) == Form::kComposed) return Gate::composed(x, gate);
  if (needs_gradient({x, gate})) return GateFunction<Gate>::apply(x, gate);
  return forward<Gate>(x.contiguous(), gate.contiguous());
}

}  // namespace

Form form_of_gate(const Tensor& x, const Tensor& gate) {
  if (suits_cuda_kernels({x, gate}) && x.scalar_type() == gate.scalar_type()) return Form::kDevice;
  return suits_cpu_kernels({x, gate}) ? Form::kCpu : Form::kComposed;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_shape("swiglu: up", up, gate.sizes());
  return apply<Swiglu>(up, gate);
}

Tensor sigmoid_gate(const Tensor& x, const Tensor& gate) {
  check_shape("sigmoid_gate: gate", gate, x.sizes());
  return apply<SigmoidGate>(x, gate);
}

}  // namespace hypenet
