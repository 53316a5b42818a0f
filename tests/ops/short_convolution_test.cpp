// The short convolution against its definition, cut anywhere, and as steps.
#include "ops/short_convolution.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr int64_t B = 2, T = 9, C = 5, W = 4;

Tensor draw(torch::IntArrayRef shape) { return torch::randn(shape, torch::kFloat64); }

/// Tap by tap; `tail` as the op has it.
Tensor defined_convolution(const Tensor& x, const Tensor& weight, const Tensor& tail) {
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < x.size(1); ++t) {
    Tensor y = torch::zeros({x.size(0), C}, x.options());
    for (int64_t i = 0; i < W; ++i) {
      const int64_t place = t - W + 1 + i;
      const Tensor input = place >= 0 ? x.select(1, place) : tail.select(2, W - 1 + place);
      y = y + weight.select(2, i).squeeze(1) * input;
    }
    outputs.push_back(y);
  }
  return torch::stack(outputs, 1);
}

TEST(ShortConvolution, is_its_definition_with_its_gradients) {
  torch::manual_seed(1);
  std::vector<Tensor> leaves = {draw({B, T, C}), draw({C, 1, W}), draw({B, C, W - 1})};
  for (Tensor& x : leaves) x.requires_grad_();
  const Tensor expected = defined_convolution(leaves[0], leaves[1], leaves[2]);
  const Tensor found = short_convolution(leaves[0], leaves[1], leaves[2]);
  EXPECT_TRUE(torch::allclose(found, expected, 1e-12, 1e-12));
  const Tensor cotangent = draw({B, T, C});
  const auto of_found = torch::autograd::grad({found}, leaves, {cotangent});
  const auto of_expected = torch::autograd::grad({expected}, leaves, {cotangent});
  for (size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(torch::allclose(of_found[i], of_expected[i], 1e-12, 1e-12)) << i;
  }
  EXPECT_TRUE(torch::equal(short_convolution(leaves[0], leaves[1]),
                           short_convolution(leaves[0], leaves[1], torch::zeros({B, C, W - 1}))));
}

TEST(ShortConvolution, has_the_same_bits_however_a_sequence_is_cut) {
  torch::manual_seed(2);
  const Tensor x = draw({1, T, C}).to(torch::kFloat32), weight = draw({C, 1, W});
  const Tensor whole = short_convolution(x, weight);
  for (int64_t cut = 1; cut < T; ++cut) {
    const Tensor tail = torch::zeros({1, C, W - 1});
    const Tensor first = x.narrow(1, 0, cut), second = x.narrow(1, cut, T - cut);
    EXPECT_TRUE(torch::equal(short_convolution(first, weight, tail), whole.narrow(1, 0, cut)));
    advance_tail(tail, first);
    EXPECT_TRUE(
        torch::equal(short_convolution(second, weight, tail), whole.narrow(1, cut, T - cut)))
        << cut;
  }
}

TEST(ShortConvolution, steps_read_and_change_the_tails_of_their_slots) {
  torch::manual_seed(3);
  const Tensor x = draw({6, C}).to(torch::kFloat32), weight = draw({C, 1, W});
  const Tensor start = draw({3, C, W - 1}).to(torch::kFloat32), tails = start.clone();
  const std::vector<int32_t> slots = {2, 2, -1, 0, 2, 2};
  const Tensor y = short_convolution_step(x, weight, tails, torch::tensor(slots, torch::kInt32));
  const Tensor own = x.index_select(0, torch::tensor({0, 1, 4, 5})).unsqueeze(0);
  const Tensor expected = short_convolution(own, weight, start.narrow(0, 2, 1))[0];
  EXPECT_TRUE(torch::equal(y.index_select(0, torch::tensor({0, 1, 4, 5})), expected));
  EXPECT_TRUE(torch::equal(y[2], torch::zeros({C})));
  EXPECT_TRUE(torch::equal(tails[1], start[1])) << "nobody's";
  EXPECT_TRUE(torch::equal(tails[2], own[0].narrow(0, 1, W - 1).t()));
  EXPECT_TRUE(torch::equal(tails[0].select(1, W - 2), x[3]));
}

constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-6},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-6},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 3e-3},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 3e-3}};

class ShortConvolutionSteps : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(5);
  }

  /// Of so many channels and taps, for N rows and S slots.
  static StepConvolution draw_convolution(int64_t N, int64_t S, int64_t channels, int64_t taps) {
    const auto& target = GetParam();
    return {torch::randn({N, channels}).to(target.device, target.type),
            torch::randn({channels, 1, taps}).to(target.device, target.weight_type),
            torch::randn({S, channels, taps - 1}).to(target.device)};
  }

  /// The same with a bias, its x a part of longer rows.
  static StepConvolution draw_with_bias(int64_t N, int64_t S, int64_t channels, int64_t taps) {
    StepConvolution one = draw_convolution(N, S, channels, taps);
    one.x = torch::cat({one.x, one.x}, 1).narrow(1, 1, channels);
    one.bias = one.weight.flatten(1).select(1, 0) + 1;
    return one;
  }
};

Tensor wide(const Tensor& x) { return x.to(torch::kCPU, torch::kFloat64); }

TEST_P(ShortConvolutionSteps, are_their_definition_row_by_row) {
  const NanFilledMemory nan_filled;
  const std::vector<int32_t> slot_of_row = {4, 0, -1, 2};
  const Tensor slots = torch::tensor(slot_of_row, torch::kInt32).to(GetParam().device);
  for (const int64_t taps : {1, 2, 4, 8, 9}) {
    for (const bool has_silu : {false, true}) {
      std::vector<StepConvolution> convolutions;
      for (const int64_t channels : {64, 300}) {
        convolutions.push_back(draw_convolution(4, 5, channels, taps));
      }
      convolutions.push_back(draw_with_bias(4, 5, 7, taps));
      std::vector<Tensor> before;
      for (const auto& one : convolutions) before.push_back(one.tails.clone());
      const auto found = short_convolution_steps(convolutions, slots, has_silu);
      for (size_t i = 0; i < found.size(); ++i) {
        SCOPED_TRACE(c10::str("taps ", taps, ", convolution ", i, has_silu ? " silu" : ""));
        const auto& [x, weight, tails, bias] = convolutions[i];
        Tensor expected = torch::zeros(x.sizes(), torch::kFloat64);
        Tensor expected_tails = wide(before[i]);
        for (int64_t n = 0; n < 4; ++n) {
          if (slot_of_row[n] < 0) continue;
          const Tensor tail = expected_tails[slot_of_row[n]];
          const Tensor inputs = torch::cat({tail, wide(x)[n].unsqueeze(1)}, 1);
          expected[n] = (inputs * wide(weight).squeeze(1)).sum(1);
          if (bias.defined()) expected[n] += wide(bias);
          tail.copy_(inputs.narrow(1, 1, taps - 1));
        }
        if (has_silu) expected = expected * torch::sigmoid(expected);
        // More taps than the kernel takes: the sum is rounded before bias and silu, and after them.
        const bool is_composed = taps > kMostStepTaps;
        const int roundings = is_composed ? 1 + (has_silu ? 1 : 0) + (bias.defined() ? 1 : 0) : 1;
        EXPECT_LT(relative_rms(found[i], expected), roundings * GetParam().tolerance);
        EXPECT_TRUE(torch::equal(wide(tails), expected_tails));
        EXPECT_EQ(found[i].scalar_type(), GetParam().type);
      }
    }
  }
}

TEST_P(ShortConvolutionSteps, a_rows_bits_are_its_own) {
  const StepConvolution all = draw_convolution(33, 33, 70, 4);
  const Tensor slots = torch::randperm(33).to(GetParam().device, torch::kInt32);
  const Tensor tails = all.tails.clone();
  const Tensor together = short_convolution_steps({all}, slots, true).front();
  for (int64_t n = 0; n < 33; ++n) {
    const Tensor alone = short_convolution_steps({{all.x.narrow(0, n, 1), all.weight, tails}},
                                                 slots.narrow(0, n, 1), true)
                             .front();
    EXPECT_TRUE(torch::equal(alone[0], together[n])) << n;
  }
  EXPECT_TRUE(torch::equal(tails, all.tails));
}

INSTANTIATE_TEST_SUITE_P(Devices, ShortConvolutionSteps, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ShortConvolution, refuses_other_shapes) {
  const Tensor x = torch::zeros({B, T, C});
  EXPECT_ERROR(short_convolution(x, torch::zeros({C + 1, 1, W})),
               "short_convolution: expected x [B, T, C] and weight [C, 1, W], found [2, 9, 5] and "
               "[6, 1, 4]");
  EXPECT_ERROR(short_convolution(x, torch::zeros({C, 1, W}), torch::zeros({B, C, W})),
               "short_convolution: tail: expected shape [2, 5, 3], found [2, 5, 4]");
  const Tensor slots = torch::zeros({B}, torch::kInt32), weight = torch::zeros({C, 1, W});
  EXPECT_ERROR(short_convolution_steps({{x.select(1, 0), weight, torch::zeros({1, C, W})}}, slots,
                                       /*has_silu=*/false),
               "short_convolution_step: weight: expected shape [5, 1, 5], found [5, 1, 4]");
}

}  // namespace
}  // namespace hypenet
