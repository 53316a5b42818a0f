// One step of a mixer of the gated delta rule on every device and type that it has a form for,
// against the definition in float64: outputs and states over several tokens, with and without each
// part.
#include "ops/delta_step.h"

#include <gtest/gtest.h>

#include "ops/form.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/step_rows.h"

namespace hypenet {
namespace {

struct Case {
  int64_t N, H, dk, dv;
  int64_t of_q = 0, of_k = 0, of_v = 0;  // heads; 0: H
  bool is_per_channel = false, has_qk_norm = true, has_rope = true;
  std::optional<double> lower_bound = {};
};

const Case kCases[] = {
    {.N = 1, .H = 2, .dk = 64, .dv = 64},
    {.N = 3, .H = 4, .dk = 128, .dv = 128, .of_q = 2, .of_k = 1},
    {.N = 40, .H = 16, .dk = 128, .dv = 128},
    {.N = 3, .H = 4, .dk = 128, .dv = 256, .of_q = 2, .of_k = 2, .has_qk_norm = false},
    {.N = 2, .H = 2, .dk = 256, .dv = 512, .has_rope = false},
    {.N = 3, .H = 3, .dk = 64, .dv = 192, .of_v = 1, .is_per_channel = true, .has_rope = false},
    {.N = 2, .H = 2, .dk = 128, .dv = 128, .is_per_channel = true, .has_qk_norm = false},
    {.N = 2, .H = 2, .dk = 128, .dv = 128, .is_per_channel = true, .lower_bound = -5},
    {.N = 2, .H = 2, .dk = 64, .dv = 64, .lower_bound = -2},
    {.N = 2, .H = 4, .dk = 16, .dv = 32, .of_k = 2, .is_per_channel = true},
    {.N = 2, .H = 2, .dk = 64, .dv = 96}};

std::string text(const Case& c) {
  return c10::str("N ", c.N, " H ", c.H, " dk ", c.dk, " dv ", c.dv,
                  c.is_per_channel ? " per channel" : "", c.has_qk_norm ? " norm" : "",
                  c.has_rope ? " rope" : "", c.lower_bound ? " bounded" : "");
}

DeltaStepInput make_input(const Case& c, const Target& target) {
  const auto draw = [&](torch::IntArrayRef shape) {
    return torch::randn(shape).to(target.device, target.type);
  };
  const auto draw_weight = [&](const Tensor& x) { return x.to(target.device, target.weight_type); };
  const auto heads = [&](int64_t of_x) { return of_x == 0 ? c.H : of_x; };
  const int64_t decays = c.is_per_channel ? c.H * c.dk : c.H;
  const bool is_wide = target.type == torch::kFloat64;
  DeltaStepInput input{.q = draw({c.N, heads(c.of_q) * c.dk}),
                       .k = draw({c.N, heads(c.of_k) * c.dk}),
                       .v = draw({c.N, heads(c.of_v) * c.dv}),
                       .z = draw({c.N, decays}),
                       .A_log = draw_weight(torch::randn({1, 1, c.H, 1})),
                       .dt_bias = draw_weight(torch::randn({decays}) - 2),
                       .lower_bound = c.lower_bound,
                       .b = draw({c.N, c.H}),
                       .most_beta = 2,
                       .scale = 0.125,
                       .state = torch::randn({c.N, c.H, c.dk, c.dv})
                                    .to(target.device, is_wide ? torch::kFloat64 : torch::kFloat32),
                       .slots = torch::arange(c.N).to(target.device, torch::kInt32)};
  if (c.has_qk_norm) {
    input.q_weight = draw_weight(1 + 0.3 * torch::randn({c.dk}));
    input.k_weight = draw_weight(1 + 0.3 * torch::randn({c.dk}));
  }
  if (c.has_rope) {
    const Tensor positions = torch::randint(0, 1000, {c.N}, torch::kInt64);
    const RopeAngles angles = rope_angles(positions, rope_frequencies(c.dk, 1e4));
    input.angles = {angles.cos.to(target.device), angles.sin.to(target.device)};
  }
  return input;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// x [N, heads size] as [N, 1, H, size].
Tensor defined_heads(const Tensor& x, int64_t size, int64_t H) {
  const Tensor y = wide(x).view({x.size(0), 1, -1, size});
  return y.repeat_interleave(H / y.size(2), 2);
}

/// q or k normed, rotated and of length 1.
Tensor defined_unit(const Tensor& x, const Tensor& weight, const RopeAngles& angles,
                    const Case& c) {
  Tensor y = defined_heads(x, c.dk, c.H);
  if (weight.defined()) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(weight);
  if (angles.cos.defined()) {
    const auto table = [&](const Tensor& half) {
      return torch::cat({wide(half), wide(half)}, -1).view({-1, 1, 1, c.dk});
    };
    const auto halves = y.chunk(2, -1);
    y = y * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
  }
  return y / (y.square().sum(-1, true) + 1e-6).sqrt();
}

/// The output of one step; `state` (float64) is replaced by the next one.
Tensor defined_step(const DeltaStepInput& input, const Case& c, Tensor& state) {
  const Tensor rate = wide(input.A_log).view({-1, 1}).exp();
  const Tensor y = (wide(input.z) + wide(input.dt_bias)).view({c.N, 1, c.H, -1});
  const Tensor decay = c.lower_bound ? -*c.lower_bound * torch::sigmoid(rate * y)
                                     : rate * torch::log1p(torch::exp(y));
  const RecurrenceOutput out =
      reference::recurrence({.q = defined_unit(input.q, input.q_weight, input.angles, c),
                             .k = defined_unit(input.k, input.k_weight, input.angles, c),
                             .v = defined_heads(input.v, c.dv, c.H),
                             .decay = c.is_per_channel ? decay : decay.squeeze(-1),
                             .beta = 2 * torch::sigmoid(wide(input.b)).unsqueeze(1),
                             .is_delta = true,
                             .scale = input.scale,
                             .state = state});
  state = out.state;
  return out.output.squeeze(1);
}

class DeltaStep : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(22);
  }

  static bool has_kernel(const Case& c) {
    return GetParam().device == torch::kCUDA && is_delta_step_head(c.dk, c.dv);
  }
};

TEST_P(DeltaStep, equals_its_definition_over_tokens) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.N > 3 && GetParam().device == torch::kCPU) continue;  // many blocks of a GPU
    SCOPED_TRACE(text(c));
    expect_tokens_equal_definition(
        [&] { return make_input(c, GetParam()); }, delta_step,
        [&](const DeltaStepInput& input, Tensor& state) { return defined_step(input, c, state); },
        has_kernel(c), GetParam());
  }
}

/// Row n of `input`, against `state`.
DeltaStepInput row_of(const DeltaStepInput& input, int64_t n, const Tensor& state) {
  DeltaStepInput row = input;
  for (Tensor* x :
       {&row.q, &row.k, &row.v, &row.z, &row.b, &row.angles.cos, &row.angles.sin, &row.slots}) {
    if (x->defined()) *x = x->narrow(0, n, 1);
  }
  row.state = state;
  return row;
}

TEST_P(DeltaStep, rows_find_their_slots_and_padding_touches_none) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.N > 3 && GetParam().device == torch::kCPU) continue;
    SCOPED_TRACE(text(c));
    expect_rows_find_their_slots(make_input(c, GetParam()), delta_step, row_of, has_kernel(c),
                                 GetParam().tolerance);
  }
}

TEST_P(DeltaStep, rows_of_one_slot_are_tokens_in_order) {
  if (GetParam().device == torch::kCUDA) GTEST_SKIP() << "on a GPU each slot comes once";
  const Case c{.N = 5, .H = 4, .dk = 16, .dv = 32, .of_k = 2, .is_per_channel = true};
  DeltaStepInput input = make_input(c, GetParam());
  input.slots = torch::tensor({2, 0, 2, -1, 2}, torch::kInt32);
  const Tensor single = input.state.clone(), y = delta_step(input);
  for (int64_t n = 0; n < c.N; ++n) {
    const Tensor alone = delta_step(row_of(input, n, single))[0];
    EXPECT_LT((alone - y[n]).abs().max().item<double>(), GetParam().tolerance) << n;
  }
  EXPECT_LT(relative_rms(input.state, single), GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeltaStep, testing::ValuesIn(kStepTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DeltaStepChecks, rejects_other_shapes) {
  const DeltaStepInput good = make_input({.N = 2, .H = 4, .dk = 16, .dv = 8}, kStepTargets[1]);
  DeltaStepInput bad = good;
  bad.v = torch::zeros({2, 24});
  EXPECT_ERROR(delta_step(bad),
               "delta_step: v: expected [2, heads 8] for whole groups of 4 heads, found [2, 24]");
  bad = good;
  bad.state = torch::zeros({2, 4, 16});
  EXPECT_ERROR(delta_step(bad),
               "delta_step: state: expected contiguous [S, H, dk, dv], found [2, 4, 16]");
  bad = good;
  bad.z = torch::zeros({2, 5});
  EXPECT_ERROR(delta_step(bad), "delta_step: z: expected shape [2, 4], found [2, 5]");
  bad = good;
  bad.dt_bias = torch::zeros({3});
  EXPECT_ERROR(delta_step(bad), "delta_step: dt_bias: expected shape [4], found [3]");
  bad = good;
  bad.A_log = torch::zeros({3});
  EXPECT_ERROR(delta_step(bad), "delta_step: A_log: expected 4 numbers, found [3]");
  bad = good;
  bad.k_weight = Tensor();
  EXPECT_ERROR(delta_step(bad), "delta_step: expected norms of both q and k or of neither");
  bad = good;
  bad.slots = torch::tensor({0, 1}, torch::kInt64);
  EXPECT_ERROR(delta_step(bad), "delta_step: slots: expected Int on cpu, found Long on cpu");
}

}  // namespace
}  // namespace hypenet
