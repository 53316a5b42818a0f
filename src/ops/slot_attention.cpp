// Both passes, scores by the slots' keys and the mean of their values, weigh what a token left in
// them by the same numbers, [C, C, M] a chunk.
#include "ops/slot_attention.h"

#include <limits>

#include "ops/chunks.h"
#include "ops/slot_attention_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

void check_input(const SlotAttention& in) {
  const Tensor& q = in.q;
  HYPENET_CHECK(q.dim() == 4 && q.size(1) >= 1,
                "slot_attention: q: expected [B, T, H, d] with T >= 1, found ", q.sizes());
  HYPENET_CHECK(in.k.dim() == 4 && in.k.size(2) >= 1 && q.size(2) % in.k.size(2) == 0,
                "slot_attention: k: expected [B, P + T, G, d] with a divisor G of ", q.size(2),
                ", found ", in.k.sizes());
  HYPENET_CHECK(in.window >= 1 && in.chunk >= 1,
                "slot_attention: expected window and chunk of 1 and more, found ", in.window,
                " and ", in.chunk);
  HYPENET_CHECK(in.decay.dim() == 4, "slot_attention: decay: expected [B, P + T, G, M], found ",
                in.decay.sizes());
  const int64_t B = q.size(0), G = in.k.size(2), d = q.size(3), M = in.decay.size(3);
  const int64_t all = in.k.size(1) == q.size(1) ? q.size(1) : in.window + q.size(1);
  check_shape("slot_attention: rotated_q", in.rotated_q, q.sizes());
  check_shape("slot_attention: k", in.k, {B, all, G, d});
  check_shape("slot_attention: rotated_k", in.rotated_k, {B, all, G, d});
  check_shape("slot_attention: v", in.v, {B, all, G, d});
  check_shape("slot_attention: decay", in.decay, {B, all, G, M});
  if (in.first_key.defined()) check_shape("slot_attention: first_key", in.first_key, {B});
  HYPENET_CHECK(in.slot_keys.defined() == in.slot_values.defined(),
                "slot_attention: expected keys and values of the slots, or neither");
  if (!in.slot_keys.defined()) return;
  check_shape("slot_attention: slot_keys", in.slot_keys, {B, G, d, M});
  check_shape("slot_attention: slot_values", in.slot_values, {B, G, M, d});
}

/// The sizes of one call: N chunks of C tokens, r query heads a key head.
struct Sizes {
  explicit Sizes(const SlotAttention& in)
      : T(in.q.size(1)), G(in.k.size(2)), W(in.window), type(sum_type(in.q)) {
    C = std::min(in.chunk, T);
    N = (T + C - 1) / C;
    r = in.q.size(2) / G;
  }

  /// Queries [B, T, H, d] -> [B, G, N, C r, d].
  Tensor queries(const Tensor& q) const {
    return in_chunks(q, C, type).unflatten(1, {G, r}).permute({0, 1, 3, 4, 2, 5}).flatten(3, 4);
  }

  /// [B, G, N, C r, n] -> [B, G, N, C, r, n]
  Tensor by_token(const Tensor& x) const { return x.unflatten(3, {C, r}); }

  /// Of tokens [B, W + T, G, d] those that enter the slots, [B, G, N, C, d].
  Tensor entering(const Tensor& x) const { return in_chunks(x.narrow(1, 0, T), C, type); }

  /// Those that some query of a chunk has in its window, [B, G, N, C + W - 1, d]: query i of a
  /// chunk has tokens i .. i + W - 1 of them.
  Tensor windows(const Tensor& x) const {
    const Tensor seen = x.narrow(1, 1, W + T - 1).to(type);
    const Tensor wide = at::constant_pad_nd(seen, {0, 0, 0, 0, 0, N * C - T});
    return wide.unfold(1, C + W - 1, C).permute({0, 2, 1, 4, 3});
  }

  int64_t T, G, W, C = 0, N = 0, r = 0;
  torch::ScalarType type;
};

/// True where a chunk's query must not look, [B or 1, 1, N, C, 1, C + W - 1].
Tensor outside(const Sizes& s, const Tensor& first_key, torch::Device device) {
  const auto options = torch::TensorOptions(torch::kInt64).device(device);
  const Tensor key = torch::arange(s.C + s.W - 1, options);
  const Tensor age = key - torch::arange(s.C, options).unsqueeze(1);  // [C, C + W - 1]
  const Tensor far = ((age < 0) | (age >= s.W)).unsqueeze(1);
  const Tensor place = torch::arange(s.N, options).unsqueeze(1) * s.C + key + 1;  // [N, C + W - 1]
  const Tensor first =
      first_key.defined() ? first_key.view({-1, 1, 1}) : torch::full({1, 1, 1}, s.W, options);
  return far | (place < first).unsqueeze(1).unsqueeze(3).unsqueeze(4);
}

/// The slots before each chunk, [B, G, N, ..], and after the last.
struct Slots {
  Slots(const Tensor& start, const Tensor& kept, const Tensor& added) {
    std::vector<Tensor> all;
    last = start;
    for (int64_t n = 0; n < added.size(2); ++n) {
      all.push_back(last);
      last = last * kept.select(2, n) + added.select(2, n);
    }
    before = torch::stack(all, 2);
  }
  Tensor before, last;
};

/// The same with W zeros in front of the tokens.
SlotAttention behind_zeros(const SlotAttention& in) {
  SlotAttention out = in;
  for (Tensor* x : {&out.k, &out.rotated_k, &out.v, &out.decay}) {
    *x = at::constant_pad_nd(*x, {0, 0, 0, 0, in.window, 0});
  }
  if (in.first_key.defined()) out.first_key = in.first_key + in.window;
  return out;
}

/// Of tokens behind those of a window.
SlotAttentionOutput in_chunks_composed(const SlotAttention& in) {
  const Sizes s(in);
  const Tensor k = s.entering(in.k), v = s.entering(in.v), decay = s.entering(in.decay);
  const Tensor F = -decay.cumsum(3), last = F.narrow(3, s.C - 1, 1);  // [B, G, N, C or 1, M]
  const Tensor share = -torch::expm1(-decay), left = share * (last - F).exp();
  const Tensor added_keys = torch::matmul(k.transpose(3, 4), left);
  const Tensor added_values = torch::matmul(left.transpose(3, 4), v);
  const auto start = [&](const Tensor& given, const Tensor& like) {
    return given.defined() ? given : torch::zeros_like(like.select(2, 0));
  };
  const Slots keys(start(in.slot_keys, added_keys), last.exp(), added_keys);
  const Slots values(start(in.slot_values, added_values), last.exp().transpose(3, 4), added_values);

  const Tensor q = s.queries(in.q) * in.scale, near_q = s.queries(in.rotated_q) * in.scale;
  const Tensor within = kept_between(F) * share.unsqueeze(3);  // [B, G, N, C, C, M]
  const Tensor faded = F.exp().unsqueeze(4);                   // [B, G, N, C, 1, M]
  const Tensor of_slots = torch::matmul(s.by_token(torch::matmul(q, k.transpose(3, 4))), within) +
                          s.by_token(torch::matmul(q, keys.before)) * faded;
  const Tensor near_k = s.windows(in.rotated_k), near_v = s.windows(in.v);
  const Tensor of_window = s.by_token(torch::matmul(near_q, near_k.transpose(3, 4)))
                               .masked_fill(outside(s, in.first_key, q.device()),
                                            -std::numeric_limits<double>::infinity());
  const Tensor weights = torch::cat({of_slots, of_window}, -1).softmax(-1);
  const int64_t M = decay.size(4);
  const Tensor p = weights.narrow(-1, 0, M), near_p = weights.narrow(-1, M, s.C + s.W - 1);
  const Tensor o = torch::matmul(torch::matmul(p, within.transpose(4, 5)).flatten(3, 4), v) +
                   torch::matmul((p * faded).flatten(3, 4), values.before) +
                   torch::matmul(near_p.flatten(3, 4), near_v);
  const Tensor output =
      s.by_token(o).permute({0, 2, 3, 1, 4, 5}).flatten(3, 4).flatten(1, 2).narrow(1, 0, s.T);
  return {output.to(in.q.scalar_type()), keys.last, values.last};
}

}  // namespace

Form form_of(const SlotAttention& input) {
  return suits_slot_attention_cuda(input) ? Form::kDevice : Form::kComposed;
}

SlotAttentionOutput slot_attention(const SlotAttention& in) {
  check_input(in);
  if (form_of(in) == Form::kDevice) return slot_attention_cuda(in);
  return in_chunks_composed(in.k.size(1) == in.q.size(1) ? behind_zeros(in) : in);
}

}  // namespace hypenet
