#include "ops/gating.h"

#include "ops/types.h"

namespace hypenet {

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_shape("swiglu: up", up, gate.sizes());
  return torch::silu(gate) * up;
}

Tensor sigmoid_gate(const Tensor& x, const Tensor& gate) {
  check_shape("sigmoid_gate: gate", gate, x.sizes());
  return x * torch::sigmoid(gate);
}

}  // namespace hypenet
