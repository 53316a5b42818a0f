// The recurrence as it is defined, twice; each written without the other's parts.
#include "ops/reference/recurrence.h"

#include "ops/recurrence_forms.h"

namespace hypenet::reference {
namespace {

Tensor state_before(const Recurrence& input) {
  if (input.state.defined()) return input.state;
  return torch::zeros({input.q.size(0), input.q.size(2), input.q.size(3), input.v.size(3)},
                      input.q.options());
}

/// [B, T, H, 1]
Tensor beta_of(const Recurrence& input) {
  if (input.beta.defined()) return input.beta.to(input.q.scalar_type()).unsqueeze(-1);
  return torch::ones_like(input.q.narrow(-1, 0, 1));
}

/// [B, T, H, 1 or dk]
Tensor decay_of(const Recurrence& input) {
  return decay_of_tokens(input).expand({input.q.size(0), input.q.size(1), input.q.size(2), -1});
}

}  // namespace

RecurrenceOutput recurrence(const Recurrence& input) {
  if (input.offsets.defined()) return by_sequence(input, recurrence);
  const Tensor kept = (-decay_of(input)).exp(), beta = beta_of(input);
  Tensor state = state_before(input);
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < input.q.size(1); ++t) {
    const Tensor q = input.q.select(1, t).unsqueeze(-2), k = input.k.select(1, t).unsqueeze(-2);
    const Tensor v = input.v.select(1, t).unsqueeze(-2);
    const Tensor faded = kept.select(1, t).unsqueeze(-1) * state;  // D_t S_{t-1}
    const Tensor predicted = input.is_delta ? torch::matmul(k, faded) : torch::zeros_like(v);
    const Tensor written = beta.select(1, t).unsqueeze(-1) * (v - predicted);
    state = faded + k.transpose(-1, -2) * written;
    outputs.push_back(input.scale * torch::matmul(q, state).squeeze(-2));
  }
  return {torch::stack(outputs, 1), state};
}

RecurrenceOutput recurrence_quadratic(const Recurrence& input) {
  if (input.offsets.defined()) return by_sequence(input, recurrence_quadratic);
  const auto by_head = [](const Tensor& x) { return x.transpose(1, 2); };  // [B, H, T, ..]
  const Tensor q = by_head(input.q), k = by_head(input.k), v = by_head(input.v);
  const Tensor beta = by_head(beta_of(input)), initial = state_before(input);
  const Tensor G = -by_head(decay_of(input)).cumsum(2);
  const Tensor lag = (G.unsqueeze(3) - G.unsqueeze(2)).clamp_max(0);  // [B, H, T, T, 1 or d]
  const auto scores = [&](const Tensor& x) {
    if (lag.size(-1) == 1) {
      return torch::matmul(x, k.transpose(2, 3)) * lag.squeeze(-1).exp();
    }
    return (x.unsqueeze(3) * k.unsqueeze(2) * lag.exp()).sum(-1);
  };
  Tensor written = beta * v;
  if (input.is_delta) {
    const Tensor identity = torch::eye(q.size(2), q.options());
    written = torch::matmul(torch::linalg_inv(identity + (beta * scores(k)).tril(-1)),
                            beta * (v - torch::matmul(k * G.exp(), initial)));
  }
  const Tensor output =
      torch::matmul(scores(q).tril(), written) + torch::matmul(q * G.exp(), initial);
  const Tensor last = G.narrow(2, G.size(2) - 1, 1);
  const Tensor state = last.exp().transpose(2, 3) * initial +
                       torch::matmul((k * (last - G).exp()).transpose(2, 3), written);
  return {input.scale * by_head(output), state};
}

}  // namespace hypenet::reference
