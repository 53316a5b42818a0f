// Norms, RoPE and gates on every device and type that has kernels, against their definitions in
// float64: outputs and every gradient, over sizes that take each way through the kernels.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "tests/support/compare.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

using Tensors = std::vector<Tensor>;
using Op = std::function<Tensors(const Tensors&)>;

constexpr double kEps = 1e-6;

constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 5e-3},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 5e-3}};

class Elementwise : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(11);
  }

  Tensor draw(const std::vector<int64_t>& shape) const {
    return torch::randn(shape).to(GetParam().device, GetParam().type);
  }
  Tensor draw_weight(int64_t n) const {
    return (1 + 0.5 * torch::randn({n})).to(GetParam().device, GetParam().weight_type);
  }

  /// Outputs, then gradients for fixed cotangents that bfloat16 holds exactly. Outputs whose place
  /// in `unused` is true take no part in the loss.
  static Tensors results(const Op& op, const Tensors& given, const std::vector<bool>& unused) {
    Tensors inputs;
    for (const Tensor& x : given) inputs.push_back(x.detach().requires_grad_());
    const Tensors outputs = op(inputs);
    torch::manual_seed(3);
    Tensors used, cotangents, all;
    for (size_t i = 0; i < outputs.size(); ++i) {
      all.push_back(outputs[i].detach());
      const Tensor cotangent = torch::randn(outputs[i].sizes()).to(torch::kBFloat16);
      if (i < unused.size() && unused[i]) continue;
      used.push_back(outputs[i]);
      cotangents.push_back(cotangent.to(outputs[i].device(), outputs[i].scalar_type()));
    }
    const Tensors gradients =
        torch::autograd::grad(used, inputs, cotangents, std::nullopt, false, true);
    for (size_t i = 0; i < gradients.size(); ++i) {
      all.push_back(gradients[i].defined() ? gradients[i] : torch::zeros_like(inputs[i]));
    }
    return all;
  }

  /// `rounds_once`: without a graph the op is one kernel, with one two ops, of other bits.
  static void expect_equals(const Op& op, const Op& definition, const Tensors& inputs,
                            const std::string& what, const std::vector<bool>& unused = {},
                            bool rounds_once = false) {
    const NanFilledMemory nan_filled;
    const Tensors found = results(op, inputs, unused);
    Tensors wide;
    for (const Tensor& x : inputs) wide.push_back(x.to(torch::kCPU, torch::kFloat64));
    const Tensors expected = results(definition, wide, unused);
    const size_t outputs = found.size() - inputs.size();
    for (size_t i = 0; i < found.size(); ++i) {
      const Tensor& like = i < outputs ? inputs[0] : inputs[i - outputs];
      ASSERT_EQ(found[i].scalar_type(), like.scalar_type()) << what << ", result " << i;
      if (expected[i].norm().item<double>() == 0) {
        EXPECT_EQ(found[i].abs().max().item<double>(), 0) << what << ", result " << i;
        continue;
      }
      EXPECT_LT(relative_rms(found[i], expected[i]), GetParam().tolerance)
          << what << ", result " << i;
    }
    // Without a graph the same numbers come out.
    const torch::NoGradGuard no_grad;
    const Tensors again = op(inputs);
    for (size_t i = 0; i < again.size(); ++i) {
      if (rounds_once) {
        EXPECT_LT(relative_rms(again[i], expected[i]), GetParam().tolerance) << what;
      } else {
        EXPECT_TRUE(torch::equal(again[i], found[i])) << what;
      }
    }
  }
};

std::string shape_text(const Tensor& x) { return c10::str(x.sizes()); }

Tensor defined_norm(const Tensor& x, const Tensor& weight) {
  return x / (x.square().mean(-1, true) + kEps).sqrt() * weight;
}

const Op kNorm = [](const Tensors& x) -> Tensors { return {rms_norm(x[0], x[1], kEps)}; };
const Op kDefinedNorm = [](const Tensors& x) -> Tensors { return {defined_norm(x[0], x[1])}; };

const Op kAdd = [](const Tensors& x) -> Tensors {
  const SumAndNorm out = add_rms_norm(x[0], x[1], x[2], kEps);
  return {out.sum, out.normed};
};
const Op kDefinedAdd = [](const Tensors& x) -> Tensors {
  return {x[0] + x[1], defined_norm(x[0] + x[1], x[2])};
};

const Op kGated = [](const Tensors& x) -> Tensors {
  return {gated_rms_norm(x[0], x[1], x[2], kEps)};
};
const Op kDefinedGated = [](const Tensors& x) -> Tensors {
  return {defined_norm(x[0], x[1]) * torch::sigmoid(x[2])};
};

const Op kSiluGated = [](const Tensors& x) -> Tensors {
  return {silu_gated_rms_norm(x[0], x[1], x[2], kEps)};
};
const Op kDefinedSiluGated = [](const Tensors& x) -> Tensors {
  return {defined_norm(x[0], x[1]) * x[2] * torch::sigmoid(x[2])};
};

// Rows and their size: lanes of a warp, a whole warp, a block; whole and broken packs of 16 bytes;
// few rows and many.
const std::vector<std::pair<int64_t, int64_t>> kRows = {
    {1, 3},      {5, 8},     {37, 64},   {2001, 64},  {3, 72},    {20000, 128}, {3, 129},
    {300, 100},  {300, 576}, {301, 768}, {301, 776},  {3, 2048},  {301, 2048},  {300, 2560},
    {270, 4096}, {3, 4096},  {3, 5000},  {300, 1023}, {2, 16384}, {2, 16383},   {2, 16392}};

TEST_P(Elementwise, rms_norm_equals_its_definition) {
  for (const auto& [rows, n] : kRows) {
    const Tensor x = 2 * draw({rows, n});
    expect_equals(kNorm, kDefinedNorm, {x, draw_weight(n)}, shape_text(x));
  }
}

TEST_P(Elementwise, add_rms_norm_equals_its_definition) {
  for (const auto& [rows, n] : kRows) {
    const Tensor x = draw({1, rows, n});
    expect_equals(kAdd, kDefinedAdd, {x, draw({1, rows, n}), draw_weight(n)}, shape_text(x));
  }
}

TEST_P(Elementwise, add_rms_norm_takes_the_gradient_of_either_output) {
  const Tensors inputs = {draw({300, 256}), draw({300, 256}), draw_weight(256)};
  expect_equals(kAdd, kDefinedAdd, inputs, "sum only", {false, true});
  expect_equals(kAdd, kDefinedAdd, inputs, "normed only", {true, false});
}

TEST_P(Elementwise, gated_rms_norm_equals_its_definition) {
  for (const auto& [rows, n] : kRows) {
    const Tensor x = 2 * draw({rows, n});
    expect_equals(kGated, kDefinedGated, {x, draw_weight(n), 2 * draw({rows, n})}, shape_text(x));
  }
}

TEST_P(Elementwise, silu_gated_rms_norm_equals_its_definition) {
  for (const auto& [rows, n] :
       {std::pair<int64_t, int64_t>{5, 8}, {37, 64}, {301, 776}, {3, 129}}) {
    const Tensor x = 2 * draw({rows, n}), weight = draw_weight(n), gate = 2 * draw({rows, n});
    expect_equals(kSiluGated, kDefinedSiluGated, {x, weight, gate}, shape_text(x), {}, true);
    const torch::NoGradGuard no_grad;  // one pass
    const Tensors wide = {x.to(torch::kFloat64), weight.to(torch::kFloat64),
                          gate.to(torch::kFloat64)};
    const Tensor found = silu_gated_rms_norm(x, weight, gate, kEps);
    EXPECT_LT(relative_rms(found, kDefinedSiluGated(wide)[0]), GetParam().tolerance) << n;
  }
}

TEST_P(Elementwise, norms_take_strided_and_unaligned_tensors) {
  const Tensor weight = draw_weight(64);
  const auto unaligned = [&] { return draw({5 * 64 + 1}).narrow(0, 1, 5 * 64).view({5, 64}); };
  const auto strided = [&] { return draw({64, 300}).t(); };
  expect_equals(kNorm, kDefinedNorm, {unaligned(), weight}, "unaligned");
  expect_equals(kNorm, kDefinedNorm, {strided(), weight}, "strided");
  expect_equals(kAdd, kDefinedAdd, {unaligned(), unaligned(), weight}, "unaligned sum");
  expect_equals(kAdd, kDefinedAdd, {strided(), strided(), weight}, "strided sum");
  expect_equals(kGated, kDefinedGated, {unaligned(), weight, unaligned()}, "unaligned gate");
  expect_equals(kGated, kDefinedGated, {strided(), weight, strided()}, "strided gate");
}

TEST_P(Elementwise, gradients_of_weights_are_the_same_bits_in_every_run) {
  const Tensors inputs = {draw({5000, 128}), draw_weight(128)};
  const int threads = torch::get_num_threads();
  torch::set_num_threads(4);  // with one alone nothing could differ on a CPU
  const Tensors first = results(kNorm, inputs, {});
  for (int run = 0; run < 5; ++run) {
    const Tensors again = results(kNorm, inputs, {});
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], again[i])) << i;
  }
  torch::set_num_threads(threads);
}

TEST_P(Elementwise, norms_of_zeros_are_finite) {
  const Tensor zeros = torch::zeros_like(draw({4, 256}));
  for (const Tensor& y : results(kNorm, {zeros, draw_weight(256)}, {})) {
    EXPECT_TRUE(y.isfinite().all().item<bool>());
  }
}

/// Heads rotated by the float32 tables `angles`, in x's type.
Tensor defined_rope(const Tensor& x, const RopeAngles& angles) {
  const auto table = [&](const Tensor& half) {
    const Tensor whole = torch::cat({half, half}, -1).unsqueeze(-2);  // [.., T, 1, d]
    return whole.to(x.device(), x.scalar_type());
  };
  const auto halves = x.chunk(2, -1);
  return x * table(angles.cos) + torch::cat({-halves[1], halves[0]}, -1) * table(angles.sin);
}

struct Heads {
  int64_t B, T, heads, d;
  bool positions_by_row = false;
};

const std::vector<Heads> kHeads = {{2, 7, 3, 64},        {1, 1, 16, 128}, {2, 33, 16, 128, true},
                                   {3, 5, 2, 16, true},  {2, 5, 3, 6},    {2, 3, 1, 256, true},
                                   {1, 2, 2, 250},       {2, 9, 2, 96},   {31, 130, 4, 64},
                                   {32, 1, 16, 64, true}};

RopeAngles make_angles(const Heads& h, torch::DeviceType device) {
  const Tensor positions = h.positions_by_row
                               ? torch::randint(0, 100'000, {h.B, h.T}, torch::kInt64)
                               : torch::arange(5, 5 + h.T);
  const RopeAngles angles = rope_angles(positions, rope_frequencies(h.d, 1e4));
  return {angles.cos.to(device), angles.sin.to(device)};
}

TEST_P(Elementwise, rope_equals_its_definition) {
  for (const Heads& h : kHeads) {
    const RopeAngles angles = make_angles(h, GetParam().device);
    const Tensor x = draw({h.B, h.T, h.heads, h.d});
    expect_equals([&](const Tensors& in) -> Tensors { return {apply_rope(in[0], angles)}; },
                  [&](const Tensors& in) -> Tensors { return {defined_rope(in[0], angles)}; }, {x},
                  shape_text(x));
  }
}

TEST_P(Elementwise, norm_rope_equals_its_definition) {
  for (const Heads& h : kHeads) {
    const RopeAngles angles = make_angles(h, GetParam().device);
    const Tensor x = 3 * draw({h.B, h.T, h.heads, h.d});
    expect_equals(
        [&](const Tensors& in) -> Tensors { return {norm_rope(in[0], in[1], kEps, angles)}; },
        [&](const Tensors& in) -> Tensors {
          return {defined_rope(defined_norm(in[0], in[1]), angles)};
        },
        {x, draw_weight(h.d)}, shape_text(x));
  }
}

TEST_P(Elementwise, gates_equal_their_definitions) {
  const Op swiglu_op = [](const Tensors& x) -> Tensors { return {swiglu(x[0], x[1])}; };
  const Op sigmoid_op = [](const Tensors& x) -> Tensors { return {sigmoid_gate(x[0], x[1])}; };
  const Op defined_swiglu = [](const Tensors& x) -> Tensors {
    return {x[0] * torch::sigmoid(x[0]) * x[1]};
  };
  const Op defined_sigmoid = [](const Tensors& x) -> Tensors {
    return {x[0] * torch::sigmoid(x[1])};
  };
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{1}, {7}, {3, 5, 24}, {2, 4096}, {100, 4099}}) {
    const Tensors inputs = {3 * draw(shape), 3 * draw(shape)};
    expect_equals(swiglu_op, defined_swiglu, inputs, shape_text(inputs[0]));
    expect_equals(sigmoid_op, defined_sigmoid, inputs, shape_text(inputs[0]));
  }
  const auto unaligned = [&] { return draw({1001}).narrow(0, 1, 1000); };
  expect_equals(swiglu_op, defined_swiglu, {unaligned(), unaligned()}, "unaligned");
}

TEST_P(Elementwise, gates_stay_finite_far_out) {
  const Tensor far = torch::tensor({-1000.F, -100.F, -88.F, 0.F, 88.F, 100.F, 1000.F})
                         .to(GetParam().device, GetParam().type);
  for (const auto& gate : {swiglu, sigmoid_gate}) {
    const Op op = [&](const Tensors& x) -> Tensors { return {gate(x[0], x[0])}; };
    for (const Tensor& y : results(op, {far}, {})) EXPECT_TRUE(y.isfinite().all().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Elementwise, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hypenet
