// The memory of a shift is the tail of its convolution.
#include "model/mixers/token_shift.h"

#include "ops/short_convolution.h"

namespace hypenet {
namespace {

Tensor taps_for(const Tensor& x) {
  const Tensor taps = torch::zeros({x.size(-1), 1, 2}, x.options());
  taps.select(2, 0).fill_(1);
  return taps;
}

}  // namespace

Tensor token_shift(const Tensor& x, const Context& context) {
  Tensor rows = context.to_rows(x);
  if (context.valid.defined()) rows = rows * context.valid;
  return context.from_rows(short_convolution(rows, taps_for(rows)));
}

Tensor token_shift(const Tensor& x, const Prefix& prefix, LayerMemory& memory, size_t part) {
  const auto move = [&memory, part](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor tail = std::get<RecurrentStates>(memory).parts[part].narrow(0, chunk.slot, 1);
    const Tensor y = short_convolution(inputs[0], taps_for(inputs[0]), tail);
    advance_tail(tail, inputs[0]);
    return y;
  };
  return along_sequence(prefix, {x}, move);
}

Tensor token_shift(const Tensor& x, const TokenRows& rows, LayerMemory& memory, size_t part) {
  const Tensor& tails = std::get<RecurrentStates>(memory).parts[part];
  return short_convolution_step(x, taps_for(x), tails, rows.slots);
}

}  // namespace hypenet
