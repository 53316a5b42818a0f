// The linear layers of a step on every device and type, against their definition in float64: each
// thing that may stand before and after the products, sizes that end in the middle of a tile, and
// rows that must not notice each other.
#include "ops/linear_step.h"

#include <gtest/gtest.h>

#include "tests/ops/rounded_rows.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

using Tensors = std::vector<Tensor>;

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cpu_float32_bfloat16_weight", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-5},
    // The ops of a whole sequence round more often: after the norm, the gate, silu.
    {"cpu_bfloat16", torch::kCPU, torch::kBFloat16, torch::kBFloat16, 1e-2},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 5e-3}};

struct Case {
  int64_t K;
  std::vector<int64_t> outs;  // of the layers
  bool has_norm = false, has_gate = false, has_bias = false;
  bool is_swiglu = false, has_residual = false, has_float_output = false;
  bool has_float_norm = false;  // the norm's weight is float32 whatever the others are
};

const Case kCases[] = {
    {.K = 72, .outs = {40}},
    {.K = 72, .outs = {17, 24, 64, 30}, .has_norm = true, .has_bias = true},
    {.K = 576, .outs = {576, 192, 192}, .has_norm = true},
    {.K = 576, .outs = {1536, 1536}, .has_norm = true, .is_swiglu = true},
    {.K = 72, .outs = {41, 41}, .has_norm = true, .has_bias = true, .is_swiglu = true},
    {.K = 576, .outs = {576}, .has_gate = true, .has_residual = true},
    {.K = 2048, .outs = {256}, .has_norm = true, .has_gate = true, .has_residual = true},
    {.K = 2048, .outs = {50}, .has_norm = true, .has_gate = true, .has_float_norm = true},
    {.K = 2048, .outs = {333}, .has_norm = true, .has_float_output = true},
    {.K = 6144, .outs = {72}, .has_bias = true, .has_residual = true},
    // More tiles of outputs than a GPU has multiprocessors.
    {.K = 264, .outs = {2500, 300}, .has_norm = true},
    {.K = 520, .outs = {2400, 2400}, .is_swiglu = true}};

std::string text(const Case& c, int64_t N) {
  return c10::str("N ", N, " K ", c.K, " out ", c.outs, c.has_norm ? " norm" : "",
                  c.has_gate ? " gate" : "", c.has_bias ? " bias" : "",
                  c.is_swiglu ? " swiglu" : "", c.has_residual ? " residual" : "",
                  c.has_float_output ? " float" : "", c.has_float_norm ? " float norm" : "");
}

/// An input that owns its layers.
struct Drawn {
  std::vector<LinearWeights> layers;
  LinearStepInput input;

  LinearStepInput rows(int64_t begin, int64_t count) const {
    LinearStepInput part = input;
    const auto cut = [&](const Tensor& x) {
      return x.defined() ? x.narrow(0, begin, count).clone() : x;
    };
    part.x = cut(input.x), part.gate = cut(input.gate), part.residual = cut(input.residual);
    part.layers = layers;
    return part;
  }
};

Drawn draw(const Case& c, int64_t N, const Target& target) {
  torch::manual_seed(31);
  const auto values = [&](torch::IntArrayRef shape, torch::ScalarType type) {
    return torch::randn(shape).to(target.device, type);
  };
  Drawn drawn{.layers = {}, .input = {.x = values({N, c.K}, target.type), .layers = {}}};
  for (const int64_t out : c.outs) {
    const Tensor weight =
        (torch::randn({out, c.K}) / std::sqrt(c.K)).to(target.device, target.weight_type);
    drawn.layers.push_back({weight, c.has_bias ? values({out}, target.weight_type) : Tensor()});
  }
  LinearStepInput& input = drawn.input;
  if (c.has_norm) {
    const auto type = c.has_float_norm ? torch::kFloat32 : target.weight_type;
    input.norm_weight = (1 + 0.3 * torch::randn({c.K})).to(target.device, type);
  }
  if (c.has_gate) input.gate = values({N, c.K}, target.type);
  if (c.has_residual) input.residual = values({N, c.outs[0]}, target.type);
  input.is_swiglu = c.is_swiglu, input.has_float_output = c.has_float_output;
  return drawn;
}

Tensor wide(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64); }

/// What linear_step returns, and the residual after it where there is one.
Tensors found(const LinearStepInput& input) {
  Tensors outputs = linear_step(input);
  if (input.residual.defined()) outputs.push_back(input.residual);
  return outputs;
}

/// The same in float64, but rounded where the contract says so; the residual is left alone.
Tensors defined(const LinearStepInput& input) {
  const auto rounded = [&](const Tensor& y) { return wide(y.to(input.x.scalar_type())); };
  Tensor x = wide(input.x);
  if (input.norm_weight.defined()) {
    x = x / (x.square().mean(-1, true) + input.eps).sqrt() * wide(input.norm_weight);
  }
  if (input.gate.defined()) x = x * torch::sigmoid(wide(input.gate));
  Tensors outputs;
  for (const LinearWeights& layer : input.layers) {
    const Tensor& weight = layer.weight.read();
    const Tensor met = rounds_rows(x.device(), input.x.scalar_type(), weight.scalar_type())
                           ? wide(x.to(torch::kBFloat16))
                           : rounded(x);
    outputs.push_back(torch::mm(met, wide(weight).t()));
    if (layer.bias.defined()) outputs.back() += wide(layer.bias.read());
  }
  if (input.is_swiglu) {
    const Tensor gate = rounded(outputs[0]);
    return {gate * torch::sigmoid(gate) * rounded(outputs[1])};
  }
  if (input.residual.defined()) outputs[0] += wide(input.residual);
  return outputs;
}

class LinearStep : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  }

  /// Every way through the device kernels; on a CPU, where time counts, fewer.
  static std::vector<int64_t> row_counts() {
    if (GetParam().device == torch::kCPU) return {1, 3, 9, 70};
    return {1, 3, 8, 9, 16, 17, 33, 64, 70};
  }

  static double least_tolerance(const Case& c) {
    const Target& target = GetParam();
    if (rounds_rows(target.device, target.type, target.weight_type)) return kRoundedRowsTolerance;
    return c.has_float_output ? 1e-7 : 0;
  }

  /// Whether a row's bits are promised to be its own.
  static bool promises_rows() {
    const Target& target = GetParam();
    return target.type == (target.device == torch::kCUDA ? torch::kBFloat16 : torch::kFloat32);
  }
};

TEST_P(LinearStep, equals_its_definition) {
  const NanFilledMemory nan_filled;
  for (const Case& c : kCases) {
    for (const int64_t N : row_counts()) {
      const Drawn drawn = draw(c, N, GetParam());
      const LinearStepInput input = drawn.rows(0, N);
      const Tensors expected = defined(input), outputs = found(input);
      ASSERT_EQ(outputs.size(), expected.size()) << text(c, N);
      for (size_t i = 0; i < outputs.size(); ++i) {
        EXPECT_EQ(outputs[i].scalar_type(), c.has_float_output ? torch::kFloat32 : GetParam().type);
        const double tolerance = std::max(least_tolerance(c), GetParam().tolerance);
        EXPECT_LT(relative_rms(outputs[i], expected[i]), tolerance) << text(c, N) << ", " << i;
      }
    }
  }
}

TEST_P(LinearStep, rows_together_equal_rows_alone) {
  if (!promises_rows()) GTEST_SKIP() << "no promise for this type and device";
  for (const Case& c : kCases) {
    const Drawn drawn = draw(c, 70, GetParam());
    const Tensors together = found(drawn.rows(0, 70));
    for (const auto& [begin, count] :
         {std::pair<int64_t, int64_t>{0, 1}, {69, 1}, {5, 3}, {1, 8}, {40, 9}, {20, 33}}) {
      const Tensors part = found(drawn.rows(begin, count));
      for (size_t i = 0; i < part.size(); ++i) {
        EXPECT_TRUE(torch::equal(part[i], together[i].narrow(0, begin, count)))
            << text(c, count) << ", output " << i;
      }
    }
  }
}

TEST_P(LinearStep, layers_together_equal_layers_alone) {
  const Drawn drawn = draw(kCases[1], 5, GetParam());
  const Tensors together = found(drawn.rows(0, 5));
  for (size_t i = 0; i < drawn.layers.size(); ++i) {
    LinearStepInput one = drawn.rows(0, 5);
    one.layers = one.layers.subspan(i, 1);
    const Tensor alone = found(one)[0];
    EXPECT_LT(relative_rms(alone, together[i]), GetParam().tolerance);
    EXPECT_TRUE(!promises_rows() || torch::equal(alone, together[i])) << i;
  }
}

TEST_P(LinearStep, takes_slices_and_no_rows) {
  const Drawn drawn = draw(kCases[6], 3, GetParam());
  const Tensors expected = found(drawn.rows(0, 3));
  LinearStepInput sliced = drawn.rows(0, 3);
  const Tensor joint = torch::cat({sliced.gate, sliced.x, sliced.gate}, 1);
  sliced.x = joint.narrow(1, 2048, 2048), sliced.gate = joint.narrow(1, 4096, 2048);
  EXPECT_TRUE(torch::equal(found(sliced)[0], expected[0]));
  EXPECT_EQ(found(drawn.rows(0, 0))[0].sizes(), torch::IntArrayRef({0, 256}));
}

INSTANTIATE_TEST_SUITE_P(Devices, LinearStep, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(LinearStepChecks, rejects_other_shapes_and_types) {
  const Drawn drawn = draw(kCases[5], 2, kTargets[1]);
  LinearStepInput bad = drawn.rows(0, 2);
  bad.x = torch::zeros({2, 64});
  EXPECT_ERROR(linear_step(bad),
               "linear_step: expected weights [out, 64] for x [2, 64], found [576, 576]");
  bad = drawn.rows(0, 2);
  bad.gate = torch::zeros({1, 576});
  EXPECT_ERROR(linear_step(bad), "linear_step: gate: expected shape [2, 576], found [1, 576]");
  bad = drawn.rows(0, 2);
  bad.residual = torch::zeros({2, 576}, torch::kBFloat16);
  EXPECT_ERROR(linear_step(bad), "residual: expected type Float, found BFloat16");
  bad = drawn.rows(0, 2);
  bad.x = bad.gate = torch::zeros({2, 576}, torch::kBFloat16);
  EXPECT_ERROR(linear_step(bad), "weight: expected type BFloat16, found Float");
  bad = drawn.rows(0, 2);
  bad.has_float_output = true;
  EXPECT_ERROR(linear_step(bad), "expected one layer and no float32 output with a residual");
  bad = drawn.rows(0, 2);
  bad.layers = {};
  EXPECT_ERROR(linear_step(bad), "expected 1 to 6 layers, found 0");
  bad = drawn.rows(0, 2);
  bad.is_swiglu = true;
  EXPECT_ERROR(linear_step(bad), "expected two layers and no residual with SwiGLU, found 1");
}

}  // namespace
}  // namespace hypenet
