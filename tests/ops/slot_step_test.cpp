// One step of Native Hybrid Attention on every device and type that it has a form for, against slot
// attention of the whole sequence in float64: outputs, slots and window over many tokens.
#include "ops/slot_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/form.h"
#include "ops/slot_attention.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/step_rows.h"

namespace hypenet {
namespace {

struct Case {
  int64_t N, H, G, d, M, W;
  bool has_qk_norm = true;
};

const Case kCases[] = {{.N = 2, .H = 3, .G = 1, .d = 64, .M = 64, .W = 5},
                       {.N = 1, .H = 4, .G = 2, .d = 128, .M = 64, .W = 16},
                       {.N = 2, .H = 2, .G = 2, .d = 64, .M = 32, .W = 1, .has_qk_norm = false},
                       {.N = 2, .H = 16, .G = 1, .d = 128, .M = 16, .W = 9},
                       {.N = 1, .H = 2, .G = 1, .d = 64, .M = 64, .W = 64},
                       {.N = 2, .H = 2, .G = 1, .d = 16, .M = 8, .W = 4}};

std::string text(const Case& c) {
  return c10::str("N ", c.N, " H ", c.H, " G ", c.G, " d ", c.d, " M ", c.M, " W ", c.W);
}

/// Of sequences of T tokens, in float64.
struct Sequences {
  Sequences(const Case& given, int64_t T) : c(given) {
    const auto random = [&](int64_t heads, int64_t size) {
      return torch::randn({c.N, T, heads * size}, torch::kFloat64)
          .to(torch::kBFloat16)
          .to(torch::kFloat64);
    };
    q = random(c.H, c.d), k = random(c.G, c.d), v = random(c.G, c.d), g = 2 * random(c.G, c.M);
    if (c.has_qk_norm) {
      q_weight = random(1, c.d)[0][0] * 0.3 + 1, k_weight = random(1, c.d)[0][0] * 0.3 + 1;
      q_weight = q_weight.to(torch::kBFloat16).to(torch::kFloat64);
      k_weight = k_weight.to(torch::kBFloat16).to(torch::kFloat64);
    }
    angles = rope_angles(torch::arange(T), rope_frequencies(c.d, 1e4));
  }

  Tensor heads(const Tensor& x, const Tensor& weight, int64_t size) const {
    const Tensor y = x.unflatten(2, {-1, size});
    return weight.defined() ? y / (y.square().mean(-1, true) + 1e-6).sqrt() * weight : y;
  }
  Tensor rotated(const Tensor& x) const {
    const auto table = [&](const Tensor& half) {
      return torch::cat({half, half}, -1).to(torch::kFloat64).view({1, -1, 1, c.d});
    };
    const auto halves = x.chunk(2, -1);
    return x * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
  }

  SlotAttentionOutput attended() const {
    const Tensor query = heads(q, q_weight, c.d), key = heads(k, k_weight, c.d);
    return slot_attention({.q = query,
                           .rotated_q = rotated(query),
                           .k = key,
                           .rotated_k = rotated(key),
                           .v = heads(v, {}, c.d),
                           .decay = torch::log1p(torch::exp(-heads(g, {}, c.M))) / 8,
                           .window = c.W,
                           .scale = 0.125});
  }

  Case c;
  Tensor q, k, v, g, q_weight, k_weight;
  RopeAngles angles;
};

/// The state of two slots more than rows; row n has slot n + 1.
SlotStepInput fresh_step(const Sequences& of, const Target& target) {
  const Case& c = of.c;
  const auto wide = torch::TensorOptions(target.device)
                        .dtype(target.type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
  const auto weight = [&](const Tensor& x) {
    return x.defined() ? x.to(target.device, target.weight_type) : x;
  };
  return {.q_weight = weight(of.q_weight),
          .k_weight = weight(of.k_weight),
          .normalizer = 8,
          .scale = 0.125,
          .slot_keys = torch::zeros({c.N + 2, c.G, c.d, c.M}, wide),
          .slot_values = torch::zeros({c.N + 2, c.G, c.M, c.d}, wide),
          .window = torch::zeros({c.N + 2, c.W, c.G, 3 * c.d + c.M}, wide),
          .slots = torch::arange(1, c.N + 1).to(target.device, torch::kInt32)};
}

void set_token(SlotStepInput& step, const Sequences& of, int64_t t, const Target& target) {
  const auto row = [&](const Tensor& x) { return x.select(1, t).to(target.device, target.type); };
  step.q = row(of.q), step.k = row(of.k), step.v = row(of.v), step.g = row(of.g);
  const auto angle = [&](const Tensor& x) {
    return x[t].expand({of.c.N, of.c.d / 2}).contiguous().to(target.device);
  };
  step.angles = {angle(of.angles.cos), angle(of.angles.sin)};
  step.positions = torch::full({of.c.N}, t, torch::kInt32).to(target.device);
}

class SlotStep : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(23);
  }
};

TEST_P(SlotStep, token_by_token_is_the_whole_sequence) {
  const Target& target = GetParam();
  for (const Case& c : kCases) {
    SCOPED_TRACE(text(c));
    const int64_t T = 2 * c.W + 7;
    const Sequences of(c, T);
    const SlotAttentionOutput expected = of.attended();
    SlotStepInput step = fresh_step(of, target);
    std::vector<Tensor> outputs;
    for (int64_t t = 0; t < T; ++t) {
      set_token(step, of, t, target);
      const bool suits = target.device == torch::kCUDA && is_slot_step(c.d, c.M, c.W, c.H / c.G);
      ASSERT_EQ(form_of(step), suits ? Form::kDevice : Form::kComposed);
      outputs.push_back(slot_step(step));
    }
    EXPECT_LT(relative_rms(torch::stack(outputs, 1), expected.output), target.tolerance);
    const auto own = [&](const Tensor& x) { return x.narrow(0, 1, c.N); };
    EXPECT_LT(relative_rms(own(step.slot_keys), expected.slot_keys), target.tolerance);
    EXPECT_LT(relative_rms(own(step.slot_values), expected.slot_values), target.tolerance);
    for (const Tensor* x : {&step.slot_keys, &step.slot_values, &step.window}) {
      EXPECT_EQ((*x)[0].abs().max().item<double>(), 0);
    }
  }
}

TEST_P(SlotStep, padding_changes_nothing_and_rows_do_not_depend_on_others) {
  const Target& target = GetParam();
  const Case c{.N = 5, .H = 6, .G = 2, .d = 64, .M = 64, .W = 4};
  const Sequences of(c, 9);
  SlotStepInput all = fresh_step(of, target), alone = fresh_step(of, target);
  for (int64_t t = 0; t < 9; ++t) {
    set_token(all, of, t, target);
    all.slots = torch::tensor({3, -1, 1, -1, 5}, torch::kInt32).to(target.device);
    const Tensor found = slot_step(all);
    EXPECT_EQ(found[1].abs().max().item<double>(), 0);
    for (const int64_t n : {0, 2, 4}) {
      set_token(alone, of, t, target);
      for (Tensor* x : {&alone.q, &alone.k, &alone.v, &alone.g, &alone.angles.cos,
                        &alone.angles.sin, &alone.positions}) {
        *x = x->narrow(0, n, 1);
      }
      alone.slots = all.slots.narrow(0, n, 1);
      EXPECT_TRUE(torch::equal(slot_step(alone)[0], found[n])) << n;
    }
  }
  EXPECT_TRUE(torch::equal(all.slot_keys, alone.slot_keys));
  EXPECT_TRUE(torch::equal(all.window, alone.window));
  for (const int64_t slot : {0, 2, 4, 6}) {
    EXPECT_EQ(all.window[slot].abs().max().item<double>(), 0) << slot;
  }
}

INSTANTIATE_TEST_SUITE_P(targets, SlotStep, testing::ValuesIn(kStepTargets),
                         [](const auto& one) { return one.param.name; });

TEST(SlotStepOp, names_tensor_expected_and_found) {
  const Sequences of({.N = 2, .H = 2, .G = 1, .d = 16, .M = 8, .W = 4}, 1);
  SlotStepInput step = fresh_step(of, kStepTargets[1]);
  set_token(step, of, 0, kStepTargets[1]);
  step.g = step.g.narrow(1, 0, 4);
  EXPECT_ERROR(slot_step(step), "slot_step: g: expected shape [2, 8], found [2, 4]");
}

}  // namespace
}  // namespace hypenet
