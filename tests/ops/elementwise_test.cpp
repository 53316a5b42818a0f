// RMSNorm, RoPE and the gates against their definitions, gradients included, over the types.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using Inputs = std::vector<Tensor>;
using Op = std::function<Tensor(const Inputs&)>;

Inputs leaves(const Inputs& values, torch::ScalarType type) {
  Inputs out;
  for (const Tensor& x : values) out.push_back(x.detach().to(type).requires_grad_());
  return out;
}

/// The op's value, then its gradients for a fixed random cotangent.
Inputs results(const Op& op, const Inputs& inputs) {
  const Tensor y = op(inputs);
  torch::manual_seed(3);
  const Tensor weight = torch::randn(y.sizes(), torch::kFloat64);
  Inputs all = torch::autograd::grad({(y.to(torch::kFloat64) * weight).sum()}, inputs);
  all.insert(all.begin(), y.detach());
  return all;
}

/// `op` in each type against `definition` run in float64 on the same (rounded) values.
void expect_equals_definition(const Op& op, const Op& definition, const Inputs& values) {
  const std::vector<std::pair<torch::ScalarType, double>> types = {
      {torch::kFloat64, 1e-12}, {torch::kFloat32, 2e-6}, {torch::kBFloat16, 2e-2}};
  for (const auto& [type, tolerance] : types) {
    const Inputs inputs = leaves(values, type);
    const Inputs found = results(op, inputs);
    const Inputs expected = results(definition, leaves(inputs, torch::kFloat64));
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].scalar_type(), type) << i;
      const double scale = std::max(expected[i].abs().max().item<double>(), 1.0);
      const double error = (found[i].to(torch::kFloat64) - expected[i]).abs().max().item<double>();
      EXPECT_LT(error / scale, tolerance) << torch::toString(type) << ", result " << i;
    }
  }
}

Tensor draw(std::vector<int64_t> shape) { return torch::randn(shape, torch::kFloat64); }

Tensor defined_rms_norm(const Inputs& x) {
  return x[0] / (x[0].square().mean(-1, true) + 1e-6).sqrt() * x[1];
}

TEST(RmsNorm, equals_its_definition) {
  torch::manual_seed(1);
  for (const int64_t n : {16, 24, 129}) {
    expect_equals_definition([](const Inputs& x) { return rms_norm(x[0], x[1], 1e-6); },
                             defined_rms_norm, {3 * draw({3, 5, n}), draw({n})});
  }
  expect_equals_definition([](const Inputs& x) { return rms_norm(x[0], x[1], 1e-6); },
                           defined_rms_norm, {draw({2, 700, 4, 16}), draw({16})});
}

TEST(L2Norm, equals_its_definition) {
  torch::manual_seed(1);
  for (const int64_t n : {16, 129}) {
    expect_equals_definition(
        [](const Inputs& x) { return l2_norm(x[0]); },
        [](const Inputs& x) { return x[0] / (x[0].square().sum(-1, true) + 1e-6).sqrt(); },
        {3 * draw({3, 5, n})});
    expect_equals_definition([](const Inputs& x) { return l2_norm(x[0], 1e-24); },
                             [](const Inputs& x) { return x[0] / x[0].norm(2, -1, true); },
                             {1e-3 * draw({3, 5, n})});
  }
  EXPECT_TRUE(torch::equal(l2_norm(torch::zeros({2, 16})), torch::zeros({2, 16})));
}

TEST(RmsNorm, takes_strided_input_and_gradients) {
  torch::manual_seed(2);
  expect_equals_definition(
      [](const Inputs& x) { return rms_norm(x[0].transpose(1, 2), x[1], 1e-6).transpose(0, 1); },
      [](const Inputs& x) {
        return defined_rms_norm({x[0].transpose(1, 2), x[1]}).transpose(0, 1);
      },
      {draw({2, 16, 5}), draw({16})});
}

TEST(RmsNorm, keeps_zeros_finite_and_float32_weights_with_bfloat16_input) {
  const Tensor zeros = torch::zeros({4, 32}).requires_grad_();
  const Tensor weight = torch::ones({32}).requires_grad_();
  const Tensor y = rms_norm(zeros, weight, 1e-6);
  EXPECT_EQ(y.abs().max().item<float>(), 0);
  for (const Tensor& g : torch::autograd::grad({y.sum()}, {zeros, weight})) {
    EXPECT_TRUE(g.isfinite().all().item<bool>());
  }
  const Tensor mixed = rms_norm(torch::ones({4, 32}, torch::kBFloat16), weight, 1e-6);
  EXPECT_EQ(mixed.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(torch::autograd::grad({mixed.sum()}, {weight})[0].scalar_type(), torch::kFloat32);
}

TEST(RmsNorm, gradients_do_not_depend_on_the_number_of_threads) {
  torch::manual_seed(10);
  const Inputs inputs = leaves({draw({40, 100, 48}), draw({48})}, torch::kFloat32);
  const Op op = [](const Inputs& x) { return rms_norm(x[0], x[1], 1e-6); };
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Inputs one = results(op, inputs);
  at::set_num_threads(2);
  const Inputs two = results(op, inputs);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(torch::equal(one[i], two[i])) << i;
}

TEST(RmsNorm, rejects_a_weight_of_another_size) {
  EXPECT_ERROR(rms_norm(torch::zeros({2, 8}), torch::ones({7}), 1e-6),
               "rms_norm: weight: expected shape [8], found [7]");
}

Tensor defined_rope(const Tensor& x, const Tensor& angles) {  // angles [B or 1, T, 1, d/2]
  const auto halves = x.chunk(2, -1);
  const Tensor cos = torch::cat({angles, angles}, -1).cos();
  const Tensor sin = torch::cat({angles, angles}, -1).sin();
  return x * cos + torch::cat({-halves[1], halves[0]}, -1) * sin;
}

TEST(Rope, equals_rotate_half) {
  torch::manual_seed(4);
  const Tensor frequencies = rope_frequencies(16, 10000);
  for (const bool batched : {false, true}) {
    const Tensor positions =
        batched ? torch::tensor({{0, 1, 2, 3, 4}, {0, 0, 0, 1, 2}}) : torch::arange(7, 12);
    const Tensor angles = (positions.to(torch::kFloat64).unsqueeze(-1) * frequencies)
                              .view({-1, 5, 1, 8})
                              .to(torch::kFloat64);
    RopeAngles tables = rope_angles(positions, frequencies);
    EXPECT_EQ(tables.cos.scalar_type(), torch::kFloat32);
    const auto definition = [&](const Inputs& x) { return defined_rope(x[0], angles); };
    const auto op = [&](const Inputs& x) {
      // float32 tables bound the agreement; in float64 they are compared with tables as exact.
      const bool wide = x[0].scalar_type() == torch::kFloat64;
      return apply_rope(
          x[0], wide ? RopeAngles{angles.squeeze(2).cos(), angles.squeeze(2).sin()} : tables);
    };
    if (batched) {
      expect_equals_definition(op, definition, {draw({2, 5, 3, 16})});
    } else {
      tables = {tables.cos.unsqueeze(0).expand({2, 5, 8}).contiguous(),
                tables.sin.unsqueeze(0).expand({2, 5, 8}).contiguous()};
      const Tensor x = draw({2, 5, 3, 16});
      const RopeAngles shared = rope_angles(positions, frequencies);
      EXPECT_TRUE(torch::equal(apply_rope(x, shared), apply_rope(x, tables)));
    }
  }
}

TEST(Rope, angles_are_right_at_a_million_tokens) {
  const Tensor frequencies = rope_frequencies(8, 1e6);
  const RopeAngles angles = rope_angles(torch::tensor({999'999}), frequencies);
  for (int64_t i = 0; i < 4; ++i) {
    const double angle = 999'999.0 * std::pow(1e6, -double(i) / 4);
    EXPECT_NEAR(angles.cos[0][i].item<float>(), std::cos(angle), 1e-7) << i;
    EXPECT_NEAR(angles.sin[0][i].item<float>(), std::sin(angle), 1e-7) << i;
  }
}

TEST(Rope, rejects_angles_of_other_positions) {
  const RopeAngles angles = rope_angles(torch::arange(4), rope_frequencies(8, 1e4));
  EXPECT_ERROR(apply_rope(torch::zeros({1, 5, 2, 8}), angles),
               "rope: angles: expected shape [5, 4], found [4, 4]");
  EXPECT_ERROR(apply_rope(torch::zeros({1, 4, 2, 7}), angles), "even d, found [1, 4, 2, 7]");
  EXPECT_ERROR(rope_frequencies(7, 1e4), "even head size, found 7");
}

TEST(Gates, equal_their_definitions) {
  torch::manual_seed(6);
  const Inputs values = {2 * draw({3, 7, 40}), draw({3, 7, 40})};
  expect_equals_definition([](const Inputs& x) { return swiglu(x[0], x[1]); },
                           [](const Inputs& x) { return x[0] * torch::sigmoid(x[0]) * x[1]; },
                           values);
  expect_equals_definition([](const Inputs& x) { return sigmoid_gate(x[0], x[1]); },
                           [](const Inputs& x) { return x[0] * torch::sigmoid(x[1]); }, values);
}

TEST(Gates, stay_finite_far_out) {
  const Tensor far = torch::tensor({-1000.f, -100.f, 0.f, 100.f, 1000.f}).requires_grad_();
  for (const auto& op : {swiglu, sigmoid_gate}) {
    const Tensor y = op(far, far);
    EXPECT_TRUE(y.isfinite().all().item<bool>());
    EXPECT_TRUE(torch::autograd::grad({y.sum()}, {far})[0].isfinite().all().item<bool>());
  }
}

TEST(Gates, reject_other_shapes) {
  EXPECT_ERROR(swiglu(torch::zeros({2, 4}), torch::zeros({2, 3})),
               "swiglu: up: expected shape [2, 4], found [2, 3]");
  EXPECT_ERROR(sigmoid_gate(torch::zeros({2, 4}), torch::zeros({2, 3})),
               "sigmoid_gate: gate: expected shape [2, 4], found [2, 3]");
}

}  // namespace
}  // namespace hypenet
