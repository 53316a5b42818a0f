// The kernels of slot attention against the float64 definition: outputs, final slots and every
// gradient; tokens before, padding, windows and slots of other sizes; and the same bits twice.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/form.h"
#include "ops/slot_attention.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

constexpr double kTolerance = 5e-3;  // of RMS(error) / RMS(reference)

enum class Trial { kUsual, kFading, kStrong };  // a slot and a token at 25 nats; all decays 8 times

struct Case {
  int64_t B, T, H, G, d;
  int64_t M = 64, W = 64;
  bool has_past = true, has_slots = true, is_padded = false;
  Trial trial = Trial::kUsual;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_H" << c.H << "_G" << c.G << "_d" << c.d << "_M" << c.M
       << "_W" << c.W << (c.has_past ? "_past" : "") << (c.has_slots ? "_slots" : "")
       << (c.is_padded ? "_padded" : "");
  if (c.trial == Trial::kFading) *out << "_fading";
  if (c.trial == Trial::kStrong) *out << "_strong";
}

std::vector<Tensor*> tensors_of(SlotAttention& in) {
  std::vector<Tensor*> all;
  for (Tensor* x : {&in.q, &in.rotated_q, &in.k, &in.rotated_k, &in.v, &in.decay, &in.slot_keys,
                    &in.slot_values}) {
    if (x->defined()) all.push_back(x);
  }
  return all;
}

SlotAttention make_input(const Case& c) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d + c.W);
  const int64_t P = c.has_past ? c.W : 0, all = P + c.T;
  const auto random = [](torch::IntArrayRef shape) {
    return torch::randn(shape).to(torch::kBFloat16);
  };
  Tensor decay = at::softplus(2 * torch::randn({c.B, all, c.G, c.M})) / 8;
  if (c.trial == Trial::kFading) {
    decay.select(3, 3).fill_(25), decay.select(1, std::min<int64_t>(5, all - 1)).fill_(25);
  }
  if (c.trial == Trial::kStrong) decay = decay * 8;
  SlotAttention in{.q = random({c.B, c.T, c.H, c.d}),
                   .rotated_q = random({c.B, c.T, c.H, c.d}),
                   .k = random({c.B, all, c.G, c.d}),
                   .rotated_k = random({c.B, all, c.G, c.d}),
                   .v = random({c.B, all, c.G, c.d}),
                   .decay = decay,
                   .window = c.W,
                   .scale = 1 / std::sqrt(static_cast<double>(c.d))};
  if (c.is_padded) {
    in.first_key = torch::arange(c.B) * 7 + 3;
    for (int64_t b = 0; b < c.B; ++b) {
      const int64_t first = std::min<int64_t>(in.first_key[b].item<int64_t>(), all - 1);
      for (Tensor* x : {&in.k, &in.rotated_k, &in.v, &in.decay})
        x->select(0, b).narrow(0, 0, first).zero_();
    }
    in.first_key = in.first_key.to(torch::kCUDA);
  }
  if (c.has_slots) {
    in.slot_keys = torch::randn({c.B, c.G, c.d, c.M}) * 0.5;
    in.slot_values = torch::randn({c.B, c.G, c.M, c.d}) * 0.5;
  }
  for (Tensor* x : tensors_of(in)) *x = x->to(torch::kCUDA).requires_grad_();
  return in;
}

SlotAttention widened(const SlotAttention& input) {
  SlotAttention wide = input;
  for (Tensor* x : tensors_of(wide)) *x = x->detach().to(torch::kFloat64).requires_grad_();
  return wide;
}

/// Output, final slots and gradients for fixed random cotangents that bfloat16 holds exactly.
std::vector<Tensor> results(SlotAttention input) {
  const SlotAttentionOutput out = slot_attention(input);
  torch::manual_seed(7);
  const auto cotangent = [](const Tensor& x, double size) {
    return (torch::randn(x.sizes()) * size).to(torch::kBFloat16).to(x.device()).to(x.scalar_type());
  };
  std::vector<Tensor> leaves;
  for (const Tensor* x : tensors_of(input)) leaves.push_back(*x);
  std::vector<Tensor> all = {out.output.detach(), out.slot_keys.detach(), out.slot_values.detach()};
  const std::vector<Tensor> outputs = {out.output, out.slot_keys, out.slot_values};
  const std::vector<Tensor> cotangents = {cotangent(out.output, 1), cotangent(out.slot_keys, 0.3),
                                          cotangent(out.slot_values, 0.3)};
  for (const Tensor& gradient : torch::autograd::grad(outputs, leaves, cotangents)) {
    all.push_back(gradient);
  }
  return all;
}

class SlotAttentionDevice : public testing::TestWithParam<Case> {};

TEST_P(SlotAttentionDevice, agrees_with_its_definition) {
  HYPENET_SKIP_WITHOUT_GPU();
  const SlotAttention input = make_input(GetParam()), wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  ASSERT_EQ(form_of(wide), Form::kComposed);
  std::vector<Tensor> found;
  {
    const NanFilledMemory nan_filled;
    found = results(input);
  }
  const std::vector<Tensor> expected = results(wide);
  const char* names[] = {"output",     "slot_keys",  "slot_values", "dq",
                         "drotated_q", "dk",         "drotated_k",  "dv",
                         "ddecay",     "dslot_keys", "dslot_values"};
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    // Few tokens: none of them has left the window.
    if (expected[i].abs().max().item<double>() == 0) {
      EXPECT_EQ(found[i].abs().max().item<double>(), 0) << names[i];
    } else {
      EXPECT_LT(relative_rms(found[i], expected[i]), kTolerance) << names[i];
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t d : {64, 128}) {
    for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130, 1000}) {
      all.push_back(
          {.B = 2, .T = T, .H = 3, .G = 1, .d = d, .has_past = T % 2 == 0, .has_slots = T != 64});
    }
    // One, two, three and five query heads of a key head.
    for (const int64_t H : {2, 4, 6, 10}) {
      all.push_back({.B = 2, .T = 200, .H = H, .G = 2, .d = d, .is_padded = H == 4});
    }
    all.push_back({.B = 2, .T = 200, .H = 4, .G = 2, .d = d, .has_past = false, .is_padded = true});
    for (const Trial trial : {Trial::kFading, Trial::kStrong}) {
      all.push_back({.B = 1, .T = 300, .H = 4, .G = 2, .d = d, .trial = trial});
    }
    for (const int64_t M : {8, 16, 32, 40}) {
      all.push_back({.B = 1, .T = 200, .H = 2, .G = 1, .d = d, .M = M});
    }
    for (const int64_t W : {1, 16, 33}) {
      all.push_back({.B = 1, .T = 200, .H = 2, .G = 1, .d = d, .W = W});
      all.push_back({.B = 1, .T = 200, .H = 2, .G = 1, .d = d, .W = W, .has_past = false});
    }
    all.push_back({.B = 1, .T = 4500, .H = 2, .G = 1, .d = d, .has_past = false});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, SlotAttentionDevice, testing::ValuesIn(cases()));

TEST(SlotAttentionKernels, give_the_same_bits_twice) {
  HYPENET_SKIP_WITHOUT_GPU();
  const SlotAttention input = make_input({.B = 2, .T = 330, .H = 6, .G = 2, .d = 64});
  const std::vector<Tensor> first = results(input), second = results(input);
  for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i])) << i;
}

TEST(SlotAttentionKernels, go_on_where_they_stopped) {
  HYPENET_SKIP_WITHOUT_GPU();
  const torch::NoGradGuard no_grad;
  const SlotAttention whole = make_input({.B = 1, .T = 200, .H = 4, .G = 2, .d = 128});
  const SlotAttentionOutput expected = slot_attention(whole);
  SlotAttention part = whole;
  std::vector<Tensor> outputs;
  for (const auto& [begin, count] : {std::pair{0, 70}, {70, 1}, {71, 129}}) {
    part.q = whole.q.narrow(1, begin, count), part.k = whole.k.narrow(1, begin, 64 + count);
    part.rotated_q = whole.rotated_q.narrow(1, begin, count);
    part.rotated_k = whole.rotated_k.narrow(1, begin, 64 + count);
    part.v = whole.v.narrow(1, begin, 64 + count);
    part.decay = whole.decay.narrow(1, begin, 64 + count);
    // The tokens before the first call's are none of its window, those of the others are.
    part.first_key = torch::full({1}, std::max(64 - begin, 0), torch::kInt64).to(torch::kCUDA);
    const SlotAttentionOutput found = slot_attention(part);
    outputs.push_back(found.output);
    part.slot_keys = found.slot_keys, part.slot_values = found.slot_values;
  }
  EXPECT_LT(relative_rms(torch::cat(outputs, 1), expected.output), kTolerance);
  EXPECT_LT(relative_rms(part.slot_keys, expected.slot_keys), kTolerance);
  EXPECT_LT(relative_rms(part.slot_values, expected.slot_values), kTolerance);
}

}  // namespace
}  // namespace hypenet
