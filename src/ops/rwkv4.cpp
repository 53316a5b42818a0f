// A chunk's exponents are a [C, C] matrix a channel; the largest of a row is taken out of all of
// its terms, as a constant, since the mean does not depend on it.
#include "ops/rwkv4.h"

#include <algorithm>
#include <limits>

#include "ops/slot_states.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr double kNoExponent = -1e38;

void check_input(const Rwkv4Input& in, int64_t states) {
  const Tensor& k = in.k;
  HYPENET_CHECK(k.dim() == 3 && k.size(1) >= 1, "rwkv4: k: expected [B, T, C] with T >= 1, found ",
                k.sizes());
  check_shape("rwkv4: v", in.v, k.sizes());
  check_shape("rwkv4: time_decay", in.time_decay, {k.size(2)});
  check_shape("rwkv4: time_first", in.time_first, {k.size(2)});
  if (in.state.defined()) check_shape("rwkv4: state", in.state, {states, 3, k.size(2)});
}

/// One chunk; all in the type of sums.
struct Chunk {
  Tensor w, u, k, v, state;  // [C], [C], [B, T, C] twice, [B, 3, C]
};

Rwkv4Output of_chunk(const Chunk& in) {
  const int64_t T = in.k.size(1);
  const auto part = [&](int64_t i) { return in.state.select(1, i).unsqueeze(1); };  // [B, 1, C]
  const Tensor sum = part(0), count = part(1), largest = part(2);
  const Tensor time = torch::arange(T, in.w.options()).unsqueeze(1);  // [T, 1]
  const Tensor faded = largest - time * in.w;                         // the past's, [B, T, C]
  const Tensor lag = (time - time.t() - 1).unsqueeze(2);              // t - 1 - i, [T, T, 1]
  const Tensor own = torch::eye(T, in.w.options()).unsqueeze(2) > 0;  // i = t
  Tensor exponents = torch::where(own, in.u, -lag * in.w) + in.k.unsqueeze(1);  // [B, T, T, C]
  exponents = exponents.masked_fill((lag < 0) & ~own, -std::numeric_limits<double>::infinity());
  const Tensor most = torch::maximum(faded, exponents.amax(2)).detach();  // [B, T, C]
  const Tensor past = (faded - most).exp(), weights = (exponents - most.unsqueeze(2)).exp();
  const Tensor y =
      (past * sum + (weights * in.v.unsqueeze(1)).sum(2)) / (past * count + weights.sum(2));

  const Tensor left = largest - static_cast<double>(T) * in.w;               // [B, 1, C]
  const Tensor written = in.k - (static_cast<double>(T) - 1 - time) * in.w;  // [B, T, C]
  const Tensor next = torch::maximum(left, written.amax(1, true)).detach();
  const Tensor kept = (left - next).exp(), added = (written - next).exp();
  return {y, torch::cat({kept * sum + (added * in.v).sum(1, true),
                         kept * count + added.sum(1, true), next},
                        1)};
}

}  // namespace

Tensor rwkv4_empty_state(int64_t B, int64_t C, const torch::TensorOptions& options) {
  const Tensor state = torch::zeros({B, 3, C}, options);
  state.select(1, 2).fill_(kNoExponent);
  return state;
}

Rwkv4Output rwkv4_recurrence(const Rwkv4Input& in, int64_t chunk) {
  check_input(in, in.k.size(0));
  HYPENET_CHECK(chunk >= 1, "rwkv4: expected chunk >= 1, found ", chunk);
  const int64_t T = in.k.size(1);
  const torch::ScalarType type = sum_type(in.k);
  const auto wide = [type](const Tensor& x) { return x.to(type); };
  const Tensor w = wide(in.time_decay).exp(), u = wide(in.time_first);
  const Tensor k = wide(in.k), v = wide(in.v);
  Tensor state = in.state.defined()
                     ? wide(in.state)
                     : rwkv4_empty_state(k.size(0), k.size(2), k.options().requires_grad(false));
  std::vector<Tensor> outputs;
  for (int64_t begin = 0; begin < T; begin += chunk) {
    const int64_t count = std::min(chunk, T - begin);
    const Rwkv4Output out =
        of_chunk({w, u, k.narrow(1, begin, count), v.narrow(1, begin, count), state});
    outputs.push_back(out.output);
    state = out.state;
  }
  return {torch::cat(outputs, 1).to(in.v.scalar_type()), state};
}

Tensor rwkv4_step(const Rwkv4Input& in, const Tensor& slots) {
  HYPENET_CHECK(in.k.dim() == 3 && in.k.size(1) == 1 && in.state.defined(),
                "rwkv4_step: expected one token a row and their states, found k ", in.k.sizes());
  check_input(in, in.state.size(0));
  check_shape("rwkv4_step: slots", slots, {in.k.size(0)});
  const auto compute = [&in](const std::vector<Tensor>& x, const std::vector<Tensor>& states) {
    const Rwkv4Output out = rwkv4_recurrence({.time_decay = in.time_decay,
                                              .time_first = in.time_first,
                                              .k = x[1],
                                              .v = x[0],
                                              .state = states[0]});
    return SteppedRows{out.output, {out.state}};
  };
  return step_rows(slots, {in.v, in.k}, {in.state}, compute);
}

}  // namespace hypenet
