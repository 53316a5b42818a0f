// The short convolution against its definition, cut anywhere, and as steps.
#include "ops/short_convolution.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/support/expect_error.h"

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

TEST(ShortConvolution, refuses_other_shapes) {
  const Tensor x = torch::zeros({B, T, C});
  EXPECT_ERROR(short_convolution(x, torch::zeros({C + 1, 1, W})),
               "short_convolution: expected x [B, T, C] and weight [C, 1, W], found [2, 9, 5] and "
               "[6, 1, 4]");
  EXPECT_ERROR(short_convolution(x, torch::zeros({C, 1, W}), torch::zeros({B, C, W})),
               "short_convolution: tail: expected shape [2, 5, 3], found [2, 5, 4]");
}

}  // namespace
}  // namespace hypenet
