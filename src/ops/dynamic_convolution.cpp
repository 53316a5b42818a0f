// Products and sums are passes of their own, each rounded once, as in ops/short_convolution.cpp.
#include "ops/dynamic_convolution.h"

#include "ops/short_convolution.h"
#include "ops/slot_states.h"
#include "ops/types.h"

namespace hypenet {

Tensor dynamic_convolution(const Tensor& x, const Tensor& taps, const Tensor& tail) {
  HYPENET_CHECK(x.dim() == 3 && taps.dim() == 4 && taps.size(3) >= 1,
                "dynamic_convolution: expected x [B, T, C] and taps [B, T, C, W], found ",
                x.sizes(), " and ", taps.sizes());
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2), W = taps.size(3);
  check_shape("dynamic_convolution: taps", taps, {B, T, C, W});
  if (tail.defined()) check_shape("dynamic_convolution: tail", tail, {B, C, W - 1});
  const torch::ScalarType type = sum_type(x);
  const Tensor before = tail.defined() ? tail.to(type).transpose(1, 2)
                                       : torch::zeros({B, W - 1, C}, x.options().dtype(type));
  const Tensor inputs = torch::cat({before, x.to(type)}, 1);
  Tensor y = inputs.narrow(1, 0, T) * taps.select(3, 0).to(type);
  for (int64_t i = 1; i < W; ++i) {
    y = y + inputs.narrow(1, i, T) * taps.select(3, i).to(type);
  }
  return y.to(x.scalar_type());
}

Tensor dynamic_convolution_step(const Tensor& x, const Tensor& taps, const Tensor& tails,
                                const Tensor& slots) {
  HYPENET_CHECK(x.dim() == 2 && taps.dim() == 3 && tails.dim() == 3,
                "dynamic_convolution_step: expected x [N, C], taps [N, C, W] and tails [S, C, W - "
                "1], found ",
                x.sizes(), ", ", taps.sizes(), " and ", tails.sizes());
  check_shape("dynamic_convolution_step: taps", taps, {x.size(0), x.size(1), tails.size(2) + 1});
  check_shape("dynamic_convolution_step: tails", tails, {tails.size(0), x.size(1), tails.size(2)});
  check_shape("dynamic_convolution_step: slots", slots, {x.size(0)});
  const auto compute = [](const std::vector<Tensor>& in, const std::vector<Tensor>& states) {
    const Tensor row = in[0].unsqueeze(1), tail = states[0].clone();
    const Tensor y = dynamic_convolution(row, in[1].unsqueeze(1), tail);
    advance_tail(tail, row);
    return SteppedRows{y.squeeze(1), {tail}};
  };
  return step_rows(slots, {x, taps}, {tails}, compute);
}

}  // namespace hypenet
