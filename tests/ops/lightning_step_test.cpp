// One step of a lightning mixer on every device and type it has a fast path for, against the
// definition in float64: outputs and states over several tokens, with and without each part.
#include "ops/lightning_step.h"

#include <gtest/gtest.h>

#include "ops/lightning.h"
#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cpu_float32_bfloat16_weight", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-5},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 7e-3},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 7e-3}};

struct Case {
  int64_t B, H, G, d;
  bool has_qk_norm = true, has_rope = true, positions_by_row = false;
  bool has_o_norm = true, has_gate = true;
};

const Case kCases[] = {{.B = 1, .H = 2, .G = 2, .d = 64},
                       {.B = 3, .H = 4, .G = 2, .d = 128, .positions_by_row = true},
                       {.B = 32, .H = 16, .G = 16, .d = 128},
                       {.B = 2, .H = 3, .G = 1, .d = 128, .has_qk_norm = false},
                       {.B = 2, .H = 3, .G = 3, .d = 64, .has_rope = false},
                       {.B = 2, .H = 2, .G = 1, .d = 64, .has_o_norm = false},
                       {.B = 2, .H = 2, .G = 2, .d = 128, .has_gate = false},
                       {.B = 2, .H = 2, .G = 2, .d = 128, .has_o_norm = false, .has_gate = false},
                       {.B = 2, .H = 4, .G = 2, .d = 16, .positions_by_row = true},
                       {.B = 2, .H = 2, .G = 1, .d = 80},
                       {.B = 2, .H = 2, .G = 2, .d = 6}};

std::string text(const Case& c) {
  return c10::str("B ", c.B, " H ", c.H, " G ", c.G, " d ", c.d, c.has_qk_norm ? " norm" : "",
                  c.has_rope ? " rope" : "", c.has_o_norm ? " o_norm" : "",
                  c.has_gate ? " gate" : "");
}

LightningStepInput make_input(const Case& c, const Target& target) {
  const auto draw = [&](torch::IntArrayRef shape) {
    return torch::randn(shape).to(target.device, target.type);
  };
  const auto draw_weight = [&](int64_t n) {
    return (1 + 0.3 * torch::randn({n})).to(target.device, target.weight_type);
  };
  LightningStepInput input{.q = draw({c.B, c.H * c.d}),
                           .k = draw({c.B, c.G * c.d}),
                           .v = draw({c.B, c.G * c.d}),
                           .decay = lightning_decay(c.H).to(target.device),
                           .scale = 0.125,
                           .state = {}};
  if (c.has_qk_norm) input.q_weight = draw_weight(c.d), input.k_weight = draw_weight(c.d);
  if (c.has_rope) {
    const Tensor positions =
        c.positions_by_row ? torch::randint(0, 1000, {c.B}, torch::kInt64) : torch::tensor(77);
    const RopeAngles angles = rope_angles(positions, rope_frequencies(c.d, 1e4));
    input.angles = {angles.cos.to(target.device), angles.sin.to(target.device)};
  }
  if (c.has_o_norm) input.o_weight = draw_weight(c.H * c.d);
  if (c.has_gate) input.gate = draw({c.B, c.H * c.d});
  const bool is_wide = target.type == torch::kFloat64;
  input.state = torch::randn({c.B, c.H, c.d, c.d})
                    .to(target.device, is_wide ? torch::kFloat64 : torch::kFloat32);
  return input;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// q or k [B, heads d] as [B, 1, heads, d], normed and rotated.
Tensor defined_heads(const Tensor& x, int64_t d, const Tensor& weight, const RopeAngles& angles) {
  Tensor y = wide(x).view({x.size(0), 1, -1, d});
  if (weight.defined()) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(weight);
  if (!angles.cos.defined()) return y;
  const auto table = [&](const Tensor& half) {
    return torch::cat({wide(half), wide(half)}, -1).view({-1, 1, 1, d});
  };
  const auto halves = y.chunk(2, -1);
  return y * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
}

/// The output of one step; `state` (float64) is replaced by the next one.
Tensor defined_step(const LightningStepInput& input, const Case& c, Tensor& state) {
  const int64_t group = c.H / c.G;
  const Tensor k = defined_heads(input.k, c.d, input.k_weight, input.angles);
  const Tensor v = defined_heads(input.v, c.d, {}, {});
  const RecurrenceOutput out =
      reference::recurrence({.q = defined_heads(input.q, c.d, input.q_weight, input.angles),
                             .k = k.repeat_interleave(group, 2),
                             .v = v.repeat_interleave(group, 2),
                             .decay = wide(input.decay),
                             .scale = input.scale,
                             .state = state});
  state = out.state;
  Tensor y = out.output.flatten(1);
  if (c.has_o_norm) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(input.o_weight);
  return c.has_gate ? y * torch::sigmoid(wide(input.gate)) : y;
}

/// Whether a kernel takes heads of this size; tensor code, for others, rounds as it likes.
bool has_kernel(const Target& target, int64_t d) {
  if (target.device == torch::kCUDA) return d == 64 || d == 128;
  return target.type == torch::kFloat32 && d % 4 == 0;
}

class LightningStep : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(21);
  }
};

TEST_P(LightningStep, equals_its_definition_over_tokens) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.B > 3 && GetParam().device == torch::kCPU) continue;  // many blocks of a GPU
    Tensor state, expected_state;
    for (int token = 0; token < 3; ++token) {
      LightningStepInput input = make_input(c, GetParam());
      if (token == 0) state = input.state, expected_state = wide(state).clone();
      input.state = state;
      const Tensor y = lightning_step(input);
      const Tensor expected = defined_step(input, c, expected_state);
      ASSERT_EQ(y.scalar_type(), GetParam().type) << text(c);
      EXPECT_LT(relative_rms(y, expected), GetParam().tolerance) << text(c);
      // The kernel keeps normed and rotated keys in float32; tensor code, of other head sizes,
      // rounds them to the activations' type first.
      const double state_tolerance =
          has_kernel(GetParam(), c.d) ? std::min(GetParam().tolerance, 1e-5) : GetParam().tolerance;
      EXPECT_LT(relative_rms(state, expected_state), state_tolerance) << text(c);
    }
  }
}

TEST_P(LightningStep, takes_slices_of_a_joint_projection) {
  const Case c{.B = 3, .H = 4, .G = 2, .d = 64};
  LightningStepInput input = make_input(c, GetParam());
  const Tensor joint = torch::cat({input.q, input.k, input.v}, 1);
  LightningStepInput sliced = input;
  sliced.q = joint.narrow(1, 0, 256), sliced.k = joint.narrow(1, 256, 128);
  sliced.v = joint.narrow(1, 384, 128), sliced.state = input.state.clone();
  EXPECT_TRUE(torch::equal(lightning_step(sliced), lightning_step(input)));
  EXPECT_TRUE(torch::equal(sliced.state, input.state));
}

/// Of a head size with a kernel: the same bits.
bool are_same(const Tensor& found, const Tensor& expected, int64_t d) {
  const Target& target = LightningStep::GetParam();
  if (has_kernel(target, d)) return torch::equal(found, expected);
  return relative_rms(found, expected) < target.tolerance;
}

/// The rows of `input` at `rows`, against `state`.
LightningStepInput rows_of(const LightningStepInput& input, const std::vector<int64_t>& rows,
                           const Tensor& slots, const Tensor& state) {
  const Tensor index = torch::tensor(rows).to(input.q.device());
  const auto some = [&](const Tensor& x) {
    return x.defined() && x.dim() == 2 ? x.index_select(0, index) : x;
  };
  LightningStepInput taken = input;
  taken.q = some(input.q), taken.k = some(input.k), taken.v = some(input.v);
  taken.angles = {some(input.angles.cos), some(input.angles.sin)};
  taken.gate = some(input.gate);
  taken.slots = slots.index_select(0, index), taken.state = state;
  return taken;
}

TEST_P(LightningStep, rows_find_their_slots_and_padding_touches_none) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.B > 3) continue;  // one by one they would take seconds
    LightningStepInput input = make_input(c, GetParam());
    const Tensor states = torch::cat({input.state, input.state.new_full({3, c.H, c.d, c.d}, NAN)});
    // Row n has slot B + 2 - n, the middle row is padding; slots 0 to 2 hold NaN and belong to
    // none.
    Tensor slots = (c.B + 2 - torch::arange(c.B)).to(torch::kInt32);
    const int64_t middle = c.B / 2;
    slots[middle] = -1;
    Tensor state = states.flip(0).contiguous();
    const Tensor before = state.clone();
    input.slots = slots.to(input.q.device()), input.state = state;
    const Tensor y = lightning_step(input);
    EXPECT_TRUE(torch::equal(y[middle], torch::zeros_like(y[middle]))) << text(c);
    for (int64_t n = 0; n < c.B; ++n) {
      if (n == middle) continue;
      const int64_t slot = slots[n].item<int32_t>();
      LightningStepInput alone = rows_of(input, {n}, input.slots, {});
      alone.slots = Tensor();
      alone.state = before.narrow(0, slot, 1).clone();
      EXPECT_TRUE(are_same(lightning_step(alone)[0], y[n], c.d)) << text(c) << " row " << n;
      EXPECT_TRUE(are_same(alone.state[0], state[slot], c.d)) << text(c) << " row " << n;
      before[slot] = state[slot];
    }
    EXPECT_TRUE(torch::equal(state.nan_to_num(7), before.nan_to_num(7))) << text(c);
  }
}

TEST_P(LightningStep, rows_of_one_slot_are_tokens_in_order) {
  if (GetParam().device == torch::kCUDA) GTEST_SKIP() << "on a GPU each slot comes once";
  for (const int64_t d : {6, 16, 64, 80}) {
    const Case c{.B = 9, .H = 4, .G = 2, .d = d, .positions_by_row = true};
    const LightningStepInput input = make_input(c, GetParam());
    const Tensor slots = torch::tensor({2, 0, 2, 2, -1, 0, 2, 1, 2}, torch::kInt32);
    const Tensor start = torch::randn({3, c.H, d, d}).to(input.state.scalar_type());
    const Tensor together_state = start.clone(), single_state = start.clone();
    const auto step = [&](const std::vector<int64_t>& rows, const Tensor& state) {
      return lightning_step(rows_of(input, rows, slots, state));
    };
    const Tensor together = step({0, 1, 2, 3, 4, 5, 6, 7, 8}, together_state);
    for (int64_t n = 0; n < c.B; ++n) {
      EXPECT_TRUE(are_same(step({n}, single_state)[0], together[n], d)) << "d " << d << " " << n;
    }
    EXPECT_TRUE(are_same(single_state, together_state, d)) << "d " << d;
    // The rows of one slot, cut otherwise, with no others beside them.
    const Tensor alone_state = start.clone();
    const Tensor alone = torch::cat({step({0, 2}, alone_state), step({3, 6, 8}, alone_state)});
    const Tensor expected = together.index_select(0, torch::tensor({0, 2, 3, 6, 8}));
    EXPECT_TRUE(are_same(alone, expected, d)) << "d " << d;
    EXPECT_TRUE(are_same(alone_state[2], together_state[2], d)) << "d " << d;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LightningStep, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(LightningStepChecks, rejects_other_shapes_and_types) {
  const LightningStepInput good = make_input({.B = 2, .H = 4, .G = 2, .d = 16}, kTargets[1]);
  LightningStepInput bad = good;
  bad.v = torch::zeros({2, 48});
  EXPECT_ERROR(lightning_step(bad), "lightning_step: v: expected shape [2, 32], found [2, 48]");
  bad = good;
  bad.state = torch::zeros({2, 4, 16, 8});
  EXPECT_ERROR(lightning_step(bad), "state: expected shape [2, 4, 16, 16], found [2, 4, 16, 8]");
  bad = good;
  bad.state = torch::zeros({2, 4, 16, 16}, torch::kBFloat16);
  EXPECT_ERROR(lightning_step(bad), "state: expected type Float, found BFloat16");
  bad = good;
  bad.k = bad.v = torch::zeros({2, 48});
  EXPECT_ERROR(lightning_step(bad),
               "expected query heads in whole groups, found 4 for 3 key heads");
  bad = good;
  bad.k_weight = Tensor();
  EXPECT_ERROR(lightning_step(bad), "expected norms of both q and k or of neither");
  bad = good;
  bad.slots = torch::tensor({0, 2}, torch::kInt32);
  EXPECT_ERROR(lightning_step(bad), "lightning_step: slots: expected less than 2, found 2");
  bad.slots = torch::tensor({0, 1}, torch::kInt64);
  EXPECT_ERROR(lightning_step(bad), "slots: expected contiguous Int on cpu, found Long on cpu");
  bad.slots = torch::tensor({0}, torch::kInt32);
  EXPECT_ERROR(lightning_step(bad), "lightning_step: slots: expected shape [2], found [1]");
}

}  // namespace
}  // namespace hypenet
