// Lightning attention as it is defined, twice.
#include "ops/reference/lightning.h"

namespace hypenet::reference {

LightningOutput lightning_recurrent(const LightningInput& input) {
  const Tensor gamma = (-input.decay.to(input.q.scalar_type())).exp().view({1, -1, 1, 1});
  const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2), d = input.q.size(3);
  Tensor state =
      input.state.defined() ? input.state : torch::zeros({B, H, d, d}, input.q.options());
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < T; ++t) {
    const Tensor q = input.q.select(1, t), k = input.k.select(1, t), v = input.v.select(1, t);
    state = gamma * state + k.unsqueeze(-1) * v.unsqueeze(-2);
    outputs.push_back(input.scale * torch::matmul(q.unsqueeze(-2), state).squeeze(-2));
  }
  return {torch::stack(outputs, 1), state};
}

LightningOutput lightning_parallel(const LightningInput& input) {
  const int64_t T = input.q.size(1);
  const Tensor q = input.q.transpose(1, 2), k = input.k.transpose(1, 2);  // [B, H, T, d]
  const Tensor v = input.v.transpose(1, 2);
  const Tensor decay = input.decay.to(q.scalar_type()).view({-1, 1, 1});
  const Tensor time = torch::arange(T, decay.options());
  const Tensor lag = (time.unsqueeze(1) - time).clamp_min(0);
  const Tensor weights = (-decay * lag).exp().tril();  // D of the header, [H, T, T]
  Tensor output = torch::matmul(torch::matmul(q, k.transpose(2, 3)) * weights, v);
  const Tensor to_end = (-decay * (T - 1 - time).unsqueeze(1)).exp();  // [H, T, 1]
  Tensor state = torch::matmul((k * to_end).transpose(2, 3), v);
  if (input.state.defined()) {
    const Tensor from_start = (-decay * (time + 1).unsqueeze(1)).exp();  // [H, T, 1]
    output = output + torch::matmul(q * from_start, input.state);
    state = state + (-decay * T).exp() * input.state;
  }
  return {(input.scale * output).transpose(1, 2), state};
}

}  // namespace hypenet::reference
