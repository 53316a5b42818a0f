// What stands around the recurrences of Mamba-2 and RWKV-7 against plain definitions in float64:
// outputs and every gradient, with the kernels of a GPU and in tensor code.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>
#include <functional>

#include "ops/gated_heads.h"
#include "ops/rwkv7_gates.h"
#include "ops/short_convolution.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

using Tensors = std::vector<Tensor>;
using Op = std::function<Tensors(const Tensors&)>;

constexpr Target kTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 6e-3},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 5e-3}};

class AroundRecurrence : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(11);
  }

  Tensor draw(const std::vector<int64_t>& shape) const {
    return torch::randn(shape).to(GetParam().device, GetParam().type);
  }
  /// Around 1.
  Tensor draw_weight(const std::vector<int64_t>& shape) const {
    return (1 + 0.5 * torch::randn(shape)).to(GetParam().device, GetParam().weight_type);
  }

  /// Outputs, then gradients for fixed cotangents that bfloat16 holds exactly.
  static Tensors results(const Op& op, const Tensors& given) {
    Tensors inputs, cotangents;
    for (const Tensor& x : given) inputs.push_back(x.detach().requires_grad_());
    const Tensors outputs = op(inputs);
    torch::manual_seed(3);
    for (const Tensor& y : outputs) {
      const Tensor cotangent = torch::randn(y.sizes()).to(torch::kBFloat16);
      cotangents.push_back(cotangent.to(y.device(), y.scalar_type()));
    }
    Tensors all = torch::autograd::grad(outputs, inputs, cotangents);
    all.insert(all.begin(), outputs.begin(), outputs.end());
    return all;
  }

  /// Tensor code rounds bfloat16 after each of its steps.
  void expect_definition(const Op& op, const Op& definition, const Tensors& given,
                         bool has_kernel) const {
    const bool is_rounded_often = !has_kernel && GetParam().type == torch::kBFloat16;
    const double tolerance = GetParam().tolerance * (is_rounded_often ? 4 : 1);
    const NanFilledMemory nan_filled;
    const Tensors found = results(op, given);
    Tensors wide;
    for (const Tensor& x : given) wide.push_back(x.to(torch::kCPU, torch::kFloat64));
    const Tensors expected = results(definition, wide);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << "tensor " << i;
      EXPECT_LT(relative_rms(found[i], expected[i]), tolerance) << "tensor " << i;
    }
    const torch::NoGradGuard no_grad;
    const Tensors again = op(given);
    for (size_t i = 0; i < again.size(); ++i) {
      EXPECT_TRUE(torch::equal(again[i], found[i])) << "without gradients, output " << i;
    }
  }
};

/// y [.., heads, d] of unit mean square, its mean taken off first if `has_mean`.
Tensor normed(const Tensor& y, double eps, bool has_mean) {
  const Tensor x = has_mean ? y - y.mean(-1, true) : y;
  return x / (x.square().mean(-1, true) + eps).sqrt();
}

TEST_P(AroundRecurrence, short_convolutions_are_their_definition) {
  struct Case {
    int64_t B, T, C, W;
    bool has_bias, has_silu;
  };
  for (const Case& of : {Case{2, 67, 40, 4, true, true}, Case{3, 5, 132, 4, false, true},
                         Case{1, 1, 8, 4, true, false}, Case{2, 300, 128, 2, false, false},
                         Case{2, 33, 64, 3, true, true}, Case{90, 3, 256, 4, true, true},
                         Case{2, 9, 6, 4, true, true}}) {
    const int64_t B = of.B, T = of.T, C = of.C, W = of.W;
    const bool has_bias = of.has_bias, has_silu = of.has_silu;
    SCOPED_TRACE(testing::Message() << B << " " << T << " " << C << " " << W);
    Tensors given = {draw({B, T, C + 8}), draw_weight({C, 1, W})};
    if (has_bias) given.push_back(draw_weight({C}));
    const auto inner = [C](const Tensor& x) { return x.narrow(2, 8, C); };  // rows lie apart
    const auto op = [&](const Tensors& in) -> Tensors {
      const Tensor bias = has_bias ? in[2] : Tensor();
      return {short_convolution(inner(in[0]), in[1], {}, {.bias = bias, .has_silu = has_silu})};
    };
    const auto definition = [&](const Tensors& in) -> Tensors {
      const Tensor x = torch::cat({torch::zeros({B, W - 1, C}, in[0].options()), inner(in[0])}, 1);
      Tensor y = has_bias ? in[2].expand({B, T, C}) : torch::zeros({B, T, C}, x.options());
      for (int64_t i = 0; i < W; ++i) y = y + x.narrow(1, i, T) * in[1].select(2, i).squeeze(1);
      return {has_silu ? y * torch::sigmoid(y) : y};
    };
    expect_definition(op, definition, given, C % 4 == 0);
  }
}

TEST_P(AroundRecurrence, short_convolutions_have_the_same_bits_however_a_sequence_is_cut) {
  const torch::NoGradGuard no_grad;
  const int64_t T = 21, C = 16, W = 4;
  const Tensor x = draw({1, T, C}), weight = draw_weight({C, 1, W});
  const AfterConvolution after = {.bias = draw_weight({C}), .has_silu = true};
  const Tensor whole = short_convolution(x, weight, {}, after);
  const torch::ScalarType wide =
      GetParam().type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  for (int64_t cut = 1; cut < T; cut += 3) {
    const Tensor tail = torch::zeros({1, C, W - 1}, x.options().dtype(wide));
    const Tensor first = x.narrow(1, 0, cut), second = x.narrow(1, cut, T - cut);
    const Tensor begun = short_convolution(first, weight, tail, after);
    advance_tail(tail, first);
    const Tensor ended = short_convolution(second, weight, tail, after);
    EXPECT_TRUE(torch::equal(torch::cat({begun, ended}, 1), whole)) << cut;
  }
}

TEST_P(AroundRecurrence, skip_gated_heads_are_their_definition) {
  struct Case {
    int64_t rows, H, d;
    bool has_bias;
  };
  for (const Case& of : {Case{37, 9, 64, true}, Case{5, 3, 128, false}, Case{1000, 2, 64, true},
                         Case{40, 20, 128, true}, Case{7, 2, 16, true}}) {
    const int64_t rows = of.rows, H = of.H, d = of.d;
    const bool has_bias = of.has_bias;
    SCOPED_TRACE(testing::Message() << rows << " " << H << " " << d);
    Tensors given = {draw({1, rows, H, d}), draw({1, rows, H, d}), draw_weight({H}),
                     draw({1, rows, H * d + 8}), draw_weight({H * d})};
    if (has_bias) given.push_back(draw_weight({H * d}));
    const int64_t width = H * d;
    const auto op = [&](const Tensors& in) -> Tensors {
      return {skip_gated_heads(in[0], in[1], in[2], in[3].narrow(2, 8, width),
                               has_bias ? in[5] : Tensor(), in[4], 1e-5)};
    };
    const auto definition = [&](const Tensors& in) -> Tensors {
      const Tensor y = in[0] + in[1] * in[2].unsqueeze(-1), z = in[3].narrow(2, 8, width);
      const Tensor gate = (has_bias ? z + in[5] : z).unflatten(-1, {H, d});
      return {normed(y * gate * torch::sigmoid(gate), 1e-5, false).flatten(-2) * in[4]};
    };
    expect_definition(op, definition, given, d >= 64);
  }
}

TEST_P(AroundRecurrence, norm_gated_heads_are_their_definition) {
  struct Case {
    int64_t rows, H, d;
    bool is_sigmoid;
  };
  for (const Case& of : {Case{37, 9, 64, false}, Case{5, 3, 128, true}, Case{1000, 2, 64, true},
                         Case{40, 20, 128, false}, Case{7, 2, 16, true}}) {
    const int64_t rows = of.rows, H = of.H, d = of.d;
    const bool is_sigmoid = of.is_sigmoid;
    SCOPED_TRACE(testing::Message() << rows << " " << H << " " << d);
    const Tensors given = {draw({1, rows, H, d}), draw({1, rows, H * d}), draw_weight({H * d}),
                           draw_weight({H * d})};
    const auto op = [&](const Tensors& in) -> Tensors {
      return {norm_gated_heads({.x = in[0],
                                .gate = in[1],
                                .weight = in[2],
                                .bias = in[3],
                                .eps = 6.4e-4,
                                .is_sigmoid = is_sigmoid})};
    };
    const auto definition = [&](const Tensors& in) -> Tensors {
      const Tensor y = normed(in[0], 6.4e-4, true).flatten(-2) * in[2] + in[3];
      return {y * (is_sigmoid ? torch::sigmoid(in[1]) : in[1])};
    };
    expect_definition(op, definition, given, d >= 64);
  }
}

TEST_P(AroundRecurrence, rwkv7_gates_are_their_definition) {
  struct Case {
    int64_t rows, H, G, d;
    bool balances;
  };
  for (const Case& of :
       {Case{37, 9, 3, 64, false}, Case{5, 4, 4, 128, true}, Case{500, 16, 2, 64, false},
        Case{40, 40, 8, 128, false}, Case{33, 16, 1, 64, true}, Case{7, 2, 1, 16, false}}) {
    const int64_t rows = of.rows, H = of.H, G = of.G, d = of.d;
    const bool balances = of.balances;
    SCOPED_TRACE(testing::Message() << rows << " " << H << " " << G << " " << d);
    const int64_t width = H * d, group = H / G;
    Tensors given = {draw({1, rows, G, d}), draw({1, rows, width}), draw({1, rows, width}),
                     draw_weight({1, 1, width}), draw_weight({1, 1, width})};
    for (int i = 0; i < 2 && !balances; ++i) given.push_back(draw_weight({1, 1, width}));
    const auto op = [&](const Tensors& in) -> Tensors {
      const Rwkv7Gates gates = rwkv7_gates({.k = in[0],
                                            .z_decay = in[1],
                                            .z_rate = in[2],
                                            .w0 = in[3],
                                            .a0 = in[4],
                                            .k_k = balances ? Tensor() : in[5],
                                            .k_a = balances ? Tensor() : in[6],
                                            .eps = 1e-12});
      return {gates.key, gates.a, gates.b, gates.decay};
    };
    const auto definition = [&](const Tensors& in) -> Tensors {
      const auto heads = [&](const Tensor& x) { return x.unflatten(-1, {H, d}); };
      const Tensor k = in[0].repeat_interleave(group, 2);
      const Tensor decay = std::exp(-0.5) * torch::sigmoid(heads(in[1] + in[3]));
      const Tensor rate = torch::sigmoid(heads(in[2] + in[4]));
      const Tensor scaled = balances ? k : k * heads(in[5]);
      const Tensor kappa = scaled / (scaled.square().sum(-1, true) + 1e-12).sqrt();
      const Tensor key =
          balances ? k * (1 - torch::exp(-decay) + rate) : k * (1 + (rate - 1) * heads(in[6]));
      return {key, -kappa, kappa * rate, decay};
    };
    expect_definition(op, definition, given, d >= 64);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, AroundRecurrence, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(AroundRecurrenceErrors, name_what_is_wrong) {
  const Tensor heads = torch::zeros({2, 3, 4}), flat = torch::zeros({2, 12});
  EXPECT_ERROR(short_convolution(torch::zeros({1, 2, 3}), torch::zeros({3, 1, 2}), {},
                                 {.bias = torch::zeros({2})}),
               "short_convolution: bias: expected shape [3], found [2]");
  EXPECT_ERROR(skip_gated_heads(heads, heads, torch::zeros({2}), flat, {}, flat[0], 1),
               "skip_gated_heads: skip: expected shape [3], found [2]");
  EXPECT_ERROR(norm_gated_heads({.x = heads, .gate = heads, .weight = flat[0], .bias = flat[0]}),
               "norm_gated_heads: gate: expected shape [2, 12], found [2, 3, 4]");
  EXPECT_ERROR(rwkv7_gates({.k = heads,
                            .z_decay = torch::zeros({2, 13}),
                            .z_rate = flat,
                            .w0 = flat[0],
                            .a0 = flat[0]}),
               "rwkv7_gates: z_decay: expected [.., H d] for k [2, 3, 4], found [2, 13]");
}

}  // namespace
}  // namespace hypenet
