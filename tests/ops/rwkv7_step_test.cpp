// One step of RWKV-7's mixer on every device and type that it has a form for, against the
// definition in float64: outputs and states over several tokens, with and without each part.
#include "ops/rwkv7_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/form.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/step_rows.h"

namespace hypenet {
namespace {

struct Case {
  int64_t N, H, d;
  int64_t of_k = 0, of_v = 0;  // heads; 0: H
  bool has_qk_norm = true, has_rope = true, is_balanced = false, has_bonus = false;
  bool has_norm = true, is_sigmoid_gate = false;
};

const Case kCases[] = {{.N = 1, .H = 2, .d = 64},
                       {.N = 3, .H = 4, .d = 128, .of_k = 2, .of_v = 1},
                       {.N = 40, .H = 16, .d = 64, .has_bonus = true},
                       {.N = 3, .H = 2, .d = 128, .has_qk_norm = false, .is_balanced = true},
                       {.N = 2, .H = 3, .d = 64, .has_rope = false, .has_norm = false},
                       {.N = 2, .H = 2, .d = 128, .has_bonus = true, .is_sigmoid_gate = true},
                       {.N = 2, .H = 4, .d = 16, .of_k = 2, .has_bonus = true}};

std::string text(const Case& c) {
  return c10::str("N ", c.N, " H ", c.H, " d ", c.d, c.has_qk_norm ? " norm" : "",
                  c.has_rope ? " rope" : "", c.is_balanced ? " balanced" : "",
                  c.has_bonus ? " bonus" : "", c.has_norm ? " group norm" : "",
                  c.is_sigmoid_gate ? " sigmoid gate" : "");
}

Rwkv7StepInput make_input(const Case& c, const Target& target) {
  const auto draw = [&](int64_t heads) {
    return torch::randn({c.N, heads * c.d}).to(target.device, target.type);
  };
  const auto weight = [&](const Tensor& x) { return x.to(target.device, target.weight_type); };
  const auto own = [&](double size, double mean) {
    return weight(size * torch::randn({1, 1, c.H * c.d}) + mean);
  };
  const bool is_wide = target.type == torch::kFloat64;
  Rwkv7StepInput input{.r = draw(c.H),
                       .k = draw(c.of_k == 0 ? c.H : c.of_k),
                       .v = draw(c.of_v == 0 ? c.H : c.of_v),
                       .z_decay = draw(c.H),
                       .decay_start = own(1, -2),
                       .z_rate = draw(c.H),
                       .rate_start = own(1, 0),
                       .gate = draw(c.H),
                       .is_sigmoid_gate = c.is_sigmoid_gate,
                       .norm_eps = 1e-5 * static_cast<double>(c.d),
                       .state = torch::randn({c.N, c.H, c.d, c.d})
                                    .to(target.device, is_wide ? torch::kFloat64 : torch::kFloat32),
                       .slots = torch::arange(c.N).to(target.device, torch::kInt32)};
  if (!c.is_balanced) input.kappa_scale = own(0.2, 0.85), input.key_rate = own(0.2, 1);
  if (c.has_bonus) input.bonus = weight(0.1 * torch::randn({c.H, c.d}));
  if (c.has_norm) {
    input.norm_weight = weight(1 + 0.3 * torch::randn({c.H * c.d}));
    input.norm_bias = weight(0.3 * torch::randn({c.H * c.d}));
  }
  if (c.has_qk_norm) {
    input.r_weight = weight(1 + 0.3 * torch::randn({c.d}));
    input.k_weight = weight(1 + 0.3 * torch::randn({c.d}));
  }
  if (c.has_rope) {
    const RopeAngles angles =
        rope_angles(torch::randint(0, 1000, {c.N}, torch::kInt64), rope_frequencies(c.d, 1e4));
    input.angles = {angles.cos.to(target.device), angles.sin.to(target.device)};
  }
  return input;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// x [N, heads d] as [N, H, d].
Tensor heads_of(const Tensor& x, const Case& c) {
  const Tensor y = wide(x).view({c.N, -1, c.d});
  return y.repeat_interleave(c.H / y.size(1), 1);
}

/// r or k normed and rotated.
Tensor defined_turned(const Tensor& x, const Tensor& weight, const RopeAngles& angles,
                      const Case& c) {
  Tensor y = heads_of(x, c);
  if (weight.defined()) y = y / (y.square().mean(-1, true) + 1e-6).sqrt() * wide(weight);
  if (!angles.cos.defined()) return y;
  const auto table = [&](const Tensor& half) {
    return torch::cat({wide(half), wide(half)}, -1).view({-1, 1, c.d});
  };
  const auto halves = y.chunk(2, -1);
  return y * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
}

/// The output of one step; `state` (float64) is replaced by the next one.
Tensor defined_step(const Rwkv7StepInput& in, const Case& c, Tensor& state) {
  const auto own = [&](const Tensor& x) { return wide(x).view({c.H, c.d}); };
  const Tensor kept =
      torch::exp(-std::exp(-0.5) * torch::sigmoid(heads_of(in.z_decay, c) + own(in.decay_start)));
  const Tensor rate = torch::sigmoid(heads_of(in.z_rate, c) + own(in.rate_start));
  const Tensor r = defined_turned(in.r, in.r_weight, in.angles, c), v = heads_of(in.v, c);
  Tensor k = defined_turned(in.k, in.k_weight, in.angles, c);
  Tensor kappa = c.is_balanced ? k : k * own(in.kappa_scale);
  kappa = kappa / kappa.norm(2, -1, true);
  k = k * (c.is_balanced ? 1 - kept + rate : 1 + (rate - 1) * own(in.key_rate));
  const auto row = [](const Tensor& x) { return x.unsqueeze(-2); };
  const auto column = [](const Tensor& x) { return x.unsqueeze(-1); };
  const Tensor read = torch::matmul(row(kappa), state);
  state = column(kept) * state - column(kappa * rate) * read + column(k) * row(v);
  Tensor o = torch::matmul(row(r), state).squeeze(-2);
  if (c.has_norm) {
    o = o - o.mean(-1, true);
    o = o / (o.square().mean(-1, true) + in.norm_eps).sqrt() * own(in.norm_weight) +
        own(in.norm_bias);
  } else {
    o = o / std::sqrt(static_cast<double>(c.d));
  }
  if (c.has_bonus) o = o + (r * k * own(in.bonus)).sum(-1, true) * v;
  const Tensor gate = heads_of(in.gate, c);
  return (o * (c.is_sigmoid_gate ? torch::sigmoid(gate) : gate)).view({c.N, -1});
}

class Rwkv7Step : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(22);
  }

  static bool has_kernel(const Case& c) {
    return GetParam().device == torch::kCUDA && (c.d == 64 || c.d == 128);
  }
};

TEST_P(Rwkv7Step, equals_its_definition_over_tokens) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.N > 3 && GetParam().device == torch::kCPU) continue;  // many blocks of a GPU
    SCOPED_TRACE(text(c));
    expect_tokens_equal_definition(
        [&] { return make_input(c, GetParam()); }, rwkv7_step,
        [&](const Rwkv7StepInput& input, Tensor& state) { return defined_step(input, c, state); },
        has_kernel(c), GetParam());
  }
}

/// Row n of `input`, against `state`.
Rwkv7StepInput row_of(const Rwkv7StepInput& input, int64_t n, const Tensor& state) {
  Rwkv7StepInput row = input;
  for (Tensor* x : {&row.r, &row.k, &row.v, &row.z_decay, &row.z_rate, &row.gate, &row.angles.cos,
                    &row.angles.sin, &row.slots}) {
    if (x->defined()) *x = x->narrow(0, n, 1);
  }
  row.state = state;
  return row;
}

TEST_P(Rwkv7Step, rows_find_their_slots_and_padding_touches_none) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    if (c.N > 3 && GetParam().device == torch::kCPU) continue;
    SCOPED_TRACE(text(c));
    expect_rows_find_their_slots(make_input(c, GetParam()), rwkv7_step, row_of, has_kernel(c),
                                 GetParam().tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Rwkv7Step, testing::ValuesIn(kStepTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Rwkv7StepChecks, rejects_other_shapes) {
  const Rwkv7StepInput good = make_input({.N = 2, .H = 4, .d = 16}, kStepTargets[1]);
  Rwkv7StepInput bad = good;
  bad.v = torch::zeros({2, 48});
  EXPECT_ERROR(rwkv7_step(bad),
               "rwkv7_step: v: expected [2, heads 16] for whole groups of 4 heads, found [2, 48]");
  bad = good;
  bad.state = torch::zeros({2, 4, 16, 8});
  EXPECT_ERROR(rwkv7_step(bad),
               "rwkv7_step: state: expected contiguous [S, H, d, d], found [2, 4, 16, 8]");
  bad = good;
  bad.z_rate = torch::zeros({2, 5});
  EXPECT_ERROR(rwkv7_step(bad), "rwkv7_step: z_rate: expected shape [2, 64], found [2, 5]");
  bad = good;
  bad.rate_start = torch::zeros({3});
  EXPECT_ERROR(rwkv7_step(bad), "rwkv7_step: parameters: expected 64 numbers, found [3]");
  bad = good;
  bad.norm_bias = Tensor();
  EXPECT_ERROR(rwkv7_step(bad),
               "rwkv7_step: expected both of the output norm's weight and bias or neither, found "
               "one");
  bad = good;
  bad.slots = torch::tensor({0, 1}, torch::kInt64);
  EXPECT_ERROR(rwkv7_step(bad), "rwkv7_step: slots: expected Int on cpu, found Long on cpu");
}

}  // namespace
}  // namespace hypenet
