// The checks at the op's door, the slopes, and the recurrent form; the chunked form is in
// lightning_chunked.cpp.
#include "ops/lightning.h"

#include <cmath>

#include "ops/lightning_check.h"
#include "ops/types.h"

namespace hypenet {
namespace {

// From here on the chunked form costs less than one state update a token.
constexpr int64_t kRecurrentTokens = 4;

bool any_requires_grad(const LightningInput& input) {
  const auto required = [](const Tensor& x) { return x.defined() && x.requires_grad(); };
  return torch::GradMode::is_enabled() &&
         (required(input.q) || required(input.k) || required(input.v) || required(input.state));
}

}  // namespace

void check_lightning(const LightningInput& input) {
  const Tensor& q = input.q;
  HYPENET_CHECK(q.dim() == 4 && q.size(1) >= 1,
                "lightning: q: expected [B, T, H, d] with T >= 1, found ", q.sizes());
  HYPENET_CHECK(q.is_floating_point(), "lightning: q: expected a floating type, found ",
                q.scalar_type());
  check_shape("lightning: k", input.k, q.sizes());
  check_shape("lightning: v", input.v, q.sizes());
  check_alike("lightning: k", input.k, q);
  check_alike("lightning: v", input.v, q);
  const int64_t H = q.size(2), d = q.size(3);
  check_shape("lightning: decay", input.decay, {H});
  HYPENET_CHECK(input.decay.device() == q.device(), "lightning: decay: expected device ",
                q.device(), ", found ", input.decay.device());
  HYPENET_CHECK(input.chunk >= 1, "lightning: expected chunk >= 1, found ", input.chunk);
  int64_t sequences = q.size(0);
  if (input.offsets.defined()) {
    const Tensor& offsets = input.offsets;
    HYPENET_CHECK(sequences == 1, "lightning: expected B = 1 with offsets, found ", sequences);
    HYPENET_CHECK(
        offsets.dim() == 1 && offsets.size(0) >= 2 &&
            (offsets.scalar_type() == torch::kInt32 || offsets.scalar_type() == torch::kInt64),
        "lightning: offsets: expected int32 or int64 [N + 1], found ", offsets.scalar_type(), " ",
        offsets.sizes());
    HYPENET_CHECK(offsets.device() == q.device(), "lightning: offsets: expected device ",
                  q.device(), ", found ", offsets.device());
    sequences = offsets.size(0) - 1;
  }
  if (!input.state.defined()) return;
  check_shape("lightning: state", input.state, {sequences, H, d, d});
  HYPENET_CHECK(input.state.scalar_type() == sum_type(q), "lightning: state: expected type ",
                sum_type(q), ", found ", input.state.scalar_type());
  HYPENET_CHECK(input.state.device() == q.device(), "lightning: state: expected device ",
                q.device(), ", found ", input.state.device());
}

Tensor lightning_decay(int64_t heads) {
  HYPENET_CHECK(heads >= 1, "lightning_decay: expected at least one head, found ", heads);
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t h = 0; h < power; ++h) slopes.push_back(std::exp2(-8.0 * (h + 1) / power));
  // The slopes of twice as many heads, first, third, ...: they lie between those above.
  for (int64_t h = 0; power + h < heads; ++h) {
    slopes.push_back(std::exp2(-8.0 * (2 * h + 1) / (2 * power)));
  }
  return torch::tensor(slopes);
}

LightningOutput lightning_recurrent(const LightningInput& input) {
  check_lightning(input);
  HYPENET_CHECK(!input.offsets.defined(), "lightning: the recurrent form takes no offsets");
  const torch::NoGradGuard no_grad;
  const torch::ScalarType type = sum_type(input.q);
  const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2), d = input.q.size(3);
  const Tensor gamma = input.decay.to(type).neg().exp_().view({1, H, 1, 1});
  Tensor state = input.state.defined() ? input.state.clone()
                                       : torch::zeros({B, H, d, d}, input.q.options().dtype(type));
  const Tensor q = input.q.to(type) * input.scale;
  const Tensor k = input.k.to(type), v = input.v.to(type);
  Tensor output = torch::empty({B, T, H, d}, q.options());
  for (int64_t t = 0; t < T; ++t) {
    state.mul_(gamma).addcmul_(k.select(1, t).unsqueeze(-1), v.select(1, t).unsqueeze(-2));
    output.select(1, t).copy_(torch::matmul(q.select(1, t).unsqueeze(-2), state).squeeze(-2));
  }
  return {output.to(input.q.scalar_type()), state};
}

LightningOutput lightning_attention(const LightningInput& input) {
  const bool few =
      input.q.dim() == 4 && input.q.size(1) <= kRecurrentTokens && !input.offsets.defined();
  return few && !any_requires_grad(input) ? lightning_recurrent(input) : lightning_chunked(input);
}

}  // namespace hypenet
