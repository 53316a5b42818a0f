// Native Hybrid Attention's op: chunks of any size are the definition, token by token in float64,
// and come out as computed elsewhere (tests/data/mixers).
#include "ops/slot_attention.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/mixer_case.h"

namespace hypenet {
namespace {

using testing_support::expect_close;
using testing_support::expect_gradients_of_differences;
using testing_support::MixerCase;

/// As it is defined, for tokens of which none is padding.
SlotAttentionOutput by_definition(const SlotAttention& in) {
  const int64_t B = in.q.size(0), T = in.q.size(1), H = in.q.size(2), d = in.q.size(3);
  const int64_t G = in.k.size(2), M = in.decay.size(3), W = in.window;
  Tensor keys = in.slot_keys.defined() ? in.slot_keys : torch::zeros({B, G, d, M}, in.q.options());
  Tensor values =
      in.slot_values.defined() ? in.slot_values : torch::zeros({B, G, M, d}, in.q.options());
  const auto of_heads = [&](const Tensor& x) { return x.repeat_interleave(H / G, 1); };
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < T; ++t) {
    const auto entering = [t](const Tensor& x) { return x.select(1, t).unsqueeze(-2); };
    const Tensor kept = (-entering(in.decay)).exp();  // [B, G, 1, M]
    keys = keys * kept + entering(in.k).transpose(-1, -2) * (1 - kept);
    values = values * kept.transpose(-1, -2) + (1 - kept).transpose(-1, -2) * entering(in.v);
    const auto row = [t](const Tensor& x) { return x.select(1, t).unsqueeze(-2); };
    const int64_t first = std::max(t + 1, in.first_key.defined() ? int64_t{0} : W);
    const auto window = [&](const Tensor& x) {
      return of_heads(x.narrow(1, first, t + W + 1 - first).transpose(1, 2));  // [B, H, n, d]
    };
    const Tensor of_slots = torch::matmul(row(in.q), of_heads(keys));
    const Tensor of_window = torch::matmul(row(in.rotated_q), window(in.rotated_k).transpose(2, 3));
    const Tensor weights = (torch::cat({of_slots, of_window}, -1) * in.scale).softmax(-1);
    const Tensor all = torch::cat({of_heads(values), window(in.v)}, 2);
    outputs.push_back(torch::matmul(weights, all).squeeze(-2));
  }
  return {torch::stack(outputs, 1), keys, values};
}

std::vector<Tensor*> tensors_of(SlotAttention& in) {
  std::vector<Tensor*> all;
  for (Tensor* x : {&in.q, &in.rotated_q, &in.k, &in.rotated_k, &in.v, &in.decay, &in.slot_keys,
                    &in.slot_values}) {
    if (x->defined()) all.push_back(x);
  }
  return all;
}

/// Four query heads of 8, two key heads, five slots of which one fades by 25 nats a token. With
/// slots there are tokens before, too.
SlotAttention make_slots(int64_t T, int64_t W, bool has_state) {
  torch::manual_seed(T);
  const int64_t B = 2, H = 4, G = 2, d = 8, M = 5;
  const auto wide = torch::TensorOptions(torch::kFloat64);
  const auto token = [&](int64_t size) {
    const Tensor x = torch::randn({B, W + T, G, size}, wide);
    if (!has_state) x.narrow(1, 0, W).zero_();
    return x;
  };
  SlotAttention in{.q = torch::randn({B, T, H, d}, wide),
                   .rotated_q = torch::randn({B, T, H, d}, wide),
                   .k = token(d),
                   .rotated_k = token(d),
                   .v = token(d),
                   .decay = token(M).abs(),
                   .window = W,
                   .scale = 0.35};
  in.decay.narrow(1, W, T).select(3, 1).fill_(25);
  if (has_state) {
    in.first_key = torch::zeros({B}, torch::kInt64);
    in.slot_keys = torch::randn({B, G, d, M}, wide);
    in.slot_values = torch::randn({B, G, M, d}, wide);
  }
  for (Tensor* x : tensors_of(in)) x->requires_grad_();
  return in;
}

Tensor loss_of(const SlotAttentionOutput& out) {
  torch::manual_seed(7);
  const auto weighed = [](const Tensor& x) {
    return (x * torch::randn(x.sizes(), torch::kFloat64)).sum();
  };
  return weighed(out.output) + weighed(out.slot_keys) + weighed(out.slot_values);
}

std::vector<Tensor> results(SlotAttentionOutput (*form)(const SlotAttention&), SlotAttention in) {
  const SlotAttentionOutput out = form(in);
  std::vector<Tensor> leaves;
  for (const Tensor* x : tensors_of(in)) leaves.push_back(*x);
  std::vector<Tensor> all = torch::autograd::grad({loss_of(out)}, leaves);
  all.insert(all.begin(), {out.output.detach(), out.slot_keys.detach(), out.slot_values.detach()});
  return all;
}

TEST(SlotAttentionOp, chunks_of_any_size_are_the_definition) {
  for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130}) {
    for (const bool has_state : {false, true}) {
      SCOPED_TRACE(c10::str("T ", T, has_state ? " state" : ""));
      SlotAttention in = make_slots(T, 7, has_state);
      const auto expected = results(by_definition, in);
      for (const int64_t chunk : {int64_t{16}, T}) {  // T: all at once
        in.chunk = chunk;
        expect_close(results(slot_attention, in), expected, 1e-10);
      }
    }
  }
}

TEST(SlotAttentionOp, windows_of_one_token_and_of_more_than_all_are_the_definition) {
  for (const int64_t W : {1, 2, 40}) {
    for (const bool has_state : {false, true}) {
      SCOPED_TRACE(c10::str("W ", W, has_state ? " state" : ""));
      const SlotAttention in = make_slots(21, W, has_state);
      expect_close(results(slot_attention, in), results(by_definition, in), 1e-10);
    }
  }
}

TEST(SlotAttentionOp, no_tokens_before_are_zeros_before) {
  const int64_t W = 7;
  const SlotAttention with_zeros = make_slots(33, W, false);
  SlotAttention in = with_zeros;
  for (Tensor* x : {&in.k, &in.rotated_k, &in.v, &in.decay}) *x = x->narrow(1, W, 33);
  expect_close({slot_attention(in).output}, {slot_attention(with_zeros).output}, 1e-12);
  in.first_key = torch::tensor({0, 3}, torch::kInt64);
  SlotAttention padded = with_zeros;
  padded.first_key = in.first_key + W;
  expect_close({slot_attention(in).output}, {slot_attention(padded).output}, 1e-12);
}

TEST(SlotAttentionOp, gradients_are_those_of_differences) {
  SlotAttention in = make_slots(19, 5, true);
  const auto found = results(slot_attention, in);
  const std::vector<Tensor> gradients(found.begin() + 3, found.end());
  expect_gradients_of_differences(
      tensors_of(in), gradients, [&] { return loss_of(slot_attention(in)); }, 1e-6);
}

TEST(SlotAttentionOp, comes_out_as_computed_elsewhere) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
    for (const auto& [name, W] : {std::pair{"op0", 4}, std::pair{"op1", 4}, std::pair{"op2", 16}}) {
      SCOPED_TRACE(c10::str(name, " ", type));
      MixerCase x("nha", name, type);
      const auto behind_nothing = [&, W = W](const char* tensor) {
        return at::constant_pad_nd(x.leaf(tensor), {0, 0, 0, 0, W, 0});
      };
      SlotAttention in{.q = x.leaf("q"),
                       .rotated_q = x.leaf("q_rope"),
                       .k = behind_nothing("k"),
                       .rotated_k = behind_nothing("k_rope"),
                       .v = behind_nothing("v"),
                       .decay = -behind_nothing("f"),
                       .window = W,
                       .scale = 0.25,
                       .slot_keys = x.leaf("slots_k_in"),
                       .slot_values = x.leaf("slots_v_in")};
      const SlotAttentionOutput out = slot_attention(in);
      x.expect(
          {{"o", out.output}, {"slots_k_out", out.slot_keys}, {"slots_v_out", out.slot_values}},
          tolerance);
      if (!in.slot_keys.defined()) continue;
      in.slot_keys = in.slot_values = Tensor();
      x.expect({{"zero.o", slot_attention(in).output}}, tolerance);
    }
  }
}

TEST(SlotAttentionOp, names_tensor_expected_and_found) {
  SlotAttention bad = make_slots(5, 3, true);
  bad.v = bad.v.narrow(1, 0, 7);
  EXPECT_ERROR(slot_attention(bad),
               "slot_attention: v: expected shape [2, 8, 2, 8], found [2, 7, 2, 8]");
  bad = make_slots(5, 3, true);
  bad.slot_values = Tensor();
  EXPECT_ERROR(slot_attention(bad), "expected keys and values of the slots, or neither");
}

}  // namespace
}  // namespace hypenet
