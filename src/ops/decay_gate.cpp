// libtorch's softplus on a CPU has other last bits in the tail of a tensor than in vectors: rows
// would show how many they are. So forwards without gradients have a kernel.
#include "ops/decay_gate.h"

#include <ATen/Parallel.h>

#include "kernels/gating.h"
#include "ops/gating.h"
#include "ops/gradient.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr int64_t kGrain = 8192;  // elements a task

/// z [..., H n], rate [H], bias [H n], all float32 on the CPU.
Tensor decay_gate_cpu(const Tensor& given, const Tensor& rate, const Tensor& bias) {
  const Tensor z = given.contiguous(), y = torch::empty_like(z);
  const int64_t width = z.size(-1), heads = rate.size(0);
  const kernels::DecayGateParams params{.z = z.const_data_ptr<float>(),
                                        .rate = rate.const_data_ptr<float>(),
                                        .bias = bias.const_data_ptr<float>(),
                                        .y = y.mutable_data_ptr<float>(),
                                        .heads = heads,
                                        .size = width / heads};
  at::parallel_for(0, z.numel() / width, kGrain / width + 1,
                   [&](int64_t begin, int64_t end) { kernels::decay_gate(params, begin, end); });
  return y;
}

}  // namespace

Tensor decay_gate(const Tensor& z, const Tensor& A_log, const Tensor& dt_bias,
                  const std::optional<double>& lower_bound) {
  const int64_t heads = A_log.numel(), width = z.size(-1);
  HYPENET_CHECK(heads > 0 && width > 0 && width % heads == 0,
                "decay_gate: z: expected [..., H n] for H ", heads, ", found ", z.sizes());
  check_shape("decay_gate: dt_bias", dt_bias, {width});
  const torch::ScalarType type = sum_type(z);
  const Tensor wide = z.to(type), bias = dt_bias.to(type).contiguous();
  const Tensor rate = A_log.to(type).flatten().exp();
  if (lower_bound) {
    const Tensor y = (wide + bias).unflatten(-1, {heads, width / heads});
    const Tensor scaled = (y * rate.unsqueeze(-1)).flatten(-2);
    return sigmoid_gate(torch::full_like(scaled, -*lower_bound), scaled);
  }
  if (suits_cpu_kernels({wide, bias, rate}) && !needs_gradient({z, A_log, dt_bias})) {
    return decay_gate_cpu(wide, rate, bias);
  }
  const Tensor steps = torch::softplus(wide + bias).unflatten(-1, {heads, width / heads});
  return (steps * rate.unsqueeze(-1)).flatten(-2);
}

Tensor beta_gate(const Tensor& b, double most) {
  const Tensor wide = b.to(sum_type(b));
  return sigmoid_gate(torch::full_like(wide, most), wide);
}

}  // namespace hypenet
