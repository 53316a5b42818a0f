// One step of Mamba-2's recurrence, and the gate and norm behind it, on every device and type that
// they have a form for, against the definition in float64.
#include "ops/mamba2_step.h"

#include <gtest/gtest.h>

#include "ops/form.h"
#include "ops/gated_heads.h"
#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/step_rows.h"

namespace hypenet {
namespace {

struct Case {
  int64_t rows, H, N, P;
  std::array<int64_t, 3> heads;  // of x, B and C
  bool has_qk_norm = true, has_rope = true, has_steps = true;
};

const Case kCases[] = {{.rows = 1, .H = 2, .N = 64, .P = 64, .heads = {2, 2, 2}},
                       {.rows = 3, .H = 4, .N = 128, .P = 128, .heads = {2, 2, 4}},
                       {.rows = 40, .H = 16, .N = 128, .P = 128, .heads = {8, 8, 16}},
                       {.rows = 3, .H = 4, .N = 64, .P = 64, .heads = {4, 1, 1}, .has_rope = false},
                       {.rows = 2,
                        .H = 2,
                        .N = 128,
                        .P = 128,
                        .heads = {2, 2, 2},
                        .has_qk_norm = false,
                        .has_steps = false},
                       {.rows = 2, .H = 4, .N = 16, .P = 32, .heads = {2, 1, 4}}};

std::string text(const Case& c) {
  return c10::str("rows ", c.rows, " H ", c.H, " N ", c.N, " P ", c.P, c.has_qk_norm ? " norm" : "",
                  c.has_rope ? " rope" : "", c.has_steps ? " steps" : "");
}

/// dt is a part of longer rows, as a projection leaves it.
Mamba2StepInput make_input(const Case& c, const Target& target) {
  const auto draw = [&](torch::IntArrayRef shape) {
    return torch::randn(shape).to(target.device, target.type);
  };
  const auto weight = [&](const Tensor& x) { return x.to(target.device, target.weight_type); };
  const int64_t width = c.heads[0] * c.P + (c.heads[1] + c.heads[2]) * c.N;
  const bool is_wide = target.type == torch::kFloat64;
  Mamba2StepInput input{
      .channels = draw({c.rows, width}),
      .heads = c.heads,
      .dt = draw({c.rows, c.H + 8}).narrow(1, 8, c.H),
      .D = weight(torch::randn({c.H})),
      .state = torch::randn({c.rows, c.H, c.N, c.P})
                   .to(target.device, is_wide ? torch::kFloat64 : torch::kFloat32),
      .slots = torch::arange(c.rows).to(target.device, torch::kInt32)};
  if (c.has_steps) {
    input.A_log = weight(torch::randn({c.H})), input.dt_bias = weight(torch::randn({c.H}) - 1);
  }
  if (c.has_qk_norm) {
    input.C_weight = weight(1 + 0.3 * torch::randn({c.N}));
    input.B_weight = weight(1 + 0.3 * torch::randn({c.N}));
  }
  if (c.has_rope) {
    const Tensor positions = torch::randint(0, 1000, {c.rows}, torch::kInt64);
    const RopeAngles angles = rope_angles(positions, rope_frequencies(c.N, 1e4));
    input.angles = {angles.cos.to(target.device), angles.sin.to(target.device)};
  }
  return input;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// x [rows, heads size] as [rows, 1, H, size].
Tensor defined_heads(const Tensor& x, int64_t size, int64_t H) {
  const Tensor y = wide(x).reshape({x.size(0), 1, -1, size});
  return y.repeat_interleave(H / y.size(2), 2);
}

/// B or C, normed and rotated.
Tensor defined_key(const Tensor& x, const Tensor& weight, const RopeAngles& angles, const Case& c) {
  Tensor y = defined_heads(x, c.N, c.H);
  if (weight.defined()) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(weight);
  if (!angles.cos.defined()) return y;
  const auto table = [&](const Tensor& half) {
    return torch::cat({wide(half), wide(half)}, -1).view({-1, 1, 1, c.N});
  };
  const auto halves = y.chunk(2, -1);
  return y * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
}

/// The output of one step; `state` (float64) is replaced by the next one.
Tensor defined_step(const Mamba2StepInput& input, const Case& c, Tensor& state) {
  const auto parts =
      input.channels.split_with_sizes({c.heads[0] * c.P, c.heads[1] * c.N, c.heads[2] * c.N}, -1);
  Tensor dt = wide(input.dt);
  if (c.has_steps) dt = dt + wide(input.dt_bias);
  const Tensor steps = torch::log1p(torch::exp(dt)).unsqueeze(1);
  const Tensor x = defined_heads(parts[0], c.P, c.H);
  Recurrence rows{.q = defined_key(parts[2], input.C_weight, input.angles, c),
                  .k = defined_key(parts[1], input.B_weight, input.angles, c),
                  .v = x,
                  .decay = steps,
                  .state = state};
  if (c.has_steps) rows.decay = wide(input.A_log).exp() * steps, rows.beta = steps;
  const RecurrenceOutput out = reference::recurrence(rows);
  state = out.state;
  return (out.output + wide(input.D).unsqueeze(-1) * x).flatten(1);
}

class Mamba2Step : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(22);
  }

  static bool has_kernel(const Case& c) {
    return GetParam().device == torch::kCUDA && c.N == c.P && is_step_head(c.N);
  }
};

TEST_P(Mamba2Step, equals_its_definition_over_tokens) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.rows > 3 && GetParam().device == torch::kCPU) continue;  // many blocks of a GPU
    SCOPED_TRACE(text(c));
    expect_tokens_equal_definition(
        [&] { return make_input(c, GetParam()); }, mamba2_step,
        [&](const Mamba2StepInput& input, Tensor& state) { return defined_step(input, c, state); },
        has_kernel(c), GetParam());
  }
}

/// Row n of `input`, against `state`.
Mamba2StepInput row_of(const Mamba2StepInput& input, int64_t n, const Tensor& state) {
  Mamba2StepInput row = input;
  for (Tensor* x : {&row.channels, &row.dt, &row.angles.cos, &row.angles.sin, &row.slots}) {
    if (x->defined()) *x = x->narrow(0, n, 1);
  }
  row.state = state;
  return row;
}

TEST_P(Mamba2Step, rows_find_their_slots_and_padding_touches_none) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.rows > 3 && GetParam().device == torch::kCPU) continue;
    SCOPED_TRACE(text(c));
    expect_rows_find_their_slots(make_input(c, GetParam()), mamba2_step, row_of, has_kernel(c),
                                 GetParam().tolerance);
  }
}

TEST_P(Mamba2Step, gated_heads_are_their_definition) {
  const NanFilledMemory nan_filled;
  const torch::NoGradGuard no_grad;
  const Target& target = GetParam();
  for (const int64_t d : {16, 64, 128}) {
    const int64_t rows = 5, H = 3;
    const auto draw = [&](torch::IntArrayRef shape) {
      return torch::randn(shape).to(target.device, target.type);
    };
    const Tensor y = draw({rows, H * d}), z = draw({rows, H * d + 16}).narrow(1, 8, H * d);
    const Tensor weight = torch::randn({H * d}).to(target.device, target.weight_type);
    for (const bool has_bias : {false, true}) {
      Tensor bias, gate = wide(z);
      if (has_bias) {
        bias = torch::randn({H * d}).to(target.device, target.weight_type);
        gate = gate + wide(bias);
      }
      const Tensor open = (wide(y) * gate * gate.sigmoid()).view({rows, H, d});
      const Tensor normed = open / (open.square().mean(-1, true) + 1e-5).sqrt();
      const Tensor expected = normed.flatten(1) * wide(weight);
      const Tensor found = gated_heads(y, z, bias, weight, H, 1e-5);
      EXPECT_LT(relative_rms(found, expected), target.tolerance) << d;
      EXPECT_TRUE(torch::equal(gated_heads(y[2], z[2], bias, weight, H, 1e-5), found[2])) << d;
    }
  }
}

TEST_P(Mamba2Step, steps_of_the_recurrence_take_the_kernel_too) {
  const Target& target = GetParam();
  const int64_t rows = 3, H = 2, d = 64;
  const auto draw = [&] { return torch::randn({rows, 1, H, d}).to(target.device, target.type); };
  const auto number = [&] { return torch::rand({rows, 1, H}).to(target.device, target.type); };
  Recurrence input{.q = draw(), .k = draw(), .v = draw(), .decay = number(), .beta = number()};
  input.scale = 0.3;
  input.state =
      torch::randn({rows, H, d, d})
          .to(target.device, target.type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
  Recurrence same = input;
  for (Tensor* x : {&same.q, &same.k, &same.v, &same.decay, &same.beta, &same.state}) *x = wide(*x);
  const RecurrenceOutput expected = reference::recurrence(same);
  const Tensor found = recurrence_step(input, {});
  EXPECT_LT(relative_rms(found, expected.output), target.tolerance);
  EXPECT_LT(relative_rms(input.state, expected.state), target.tolerance);
}

INSTANTIATE_TEST_SUITE_P(Devices, Mamba2Step, testing::ValuesIn(kStepTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Mamba2StepChecks, rejects_other_shapes) {
  const Mamba2StepInput good = make_input(kCases[5], kStepTargets[1]);
  Mamba2StepInput bad = good;
  bad.heads = {3, 1, 4};
  EXPECT_ERROR(mamba2_step(bad), "mamba2_step: expected heads in whole groups of 4");
  bad = good;
  bad.channels = torch::zeros({2, 24});
  EXPECT_ERROR(mamba2_step(bad), "mamba2_step: channels: expected [rows, 144], found [2, 24]");
  bad = good;
  bad.dt_bias = Tensor();
  EXPECT_ERROR(mamba2_step(bad), "mamba2_step: expected A_log and dt_bias or neither");
  bad = good;
  bad.slots = torch::tensor({0, 1}, torch::kInt64);
  EXPECT_ERROR(mamba2_step(bad),
               "mamba2_step: slots: expected contiguous Int on cpu, found Long on cpu");
  EXPECT_ERROR(gated_heads(torch::zeros({2, 6}), torch::zeros({2, 6}), {}, torch::ones({6}), 4, 0),
               "gated_heads: expected y [.., heads d] for 4 heads, found [2, 6]");
}

}  // namespace
}  // namespace hypenet
