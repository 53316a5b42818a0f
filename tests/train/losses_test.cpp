// The piecewise losses against their plain forms over whole [N, V] logits, in float64.
#include "train/losses.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/nn/functional/loss.h>

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t D = 6, V = 11, teacher_D = 4;
};

struct Inputs {
  Tensor hidden, weight, targets, teacher_hidden, teacher_weight;
};

Inputs random_inputs(int64_t tokens, const Sizes& sizes = {}) {
  torch::manual_seed(tokens);
  const auto options = torch::TensorOptions().dtype(torch::kFloat64);
  return {torch::randn({tokens, sizes.D}, options).requires_grad_(),
          torch::randn({sizes.V, sizes.D}, options).requires_grad_(),
          torch::randint(sizes.V, {tokens}, torch::kInt64),
          torch::randn({tokens, sizes.teacher_D}, options),
          torch::randn({sizes.V, sizes.teacher_D}, options)};
}

Tensor plain_cross_entropy(const Inputs& in) {
  return torch::nn::functional::cross_entropy(torch::matmul(in.hidden, in.weight.t()), in.targets);
}

Tensor plain_kl(const Inputs& in) {
  const Tensor q = torch::log_softmax(torch::matmul(in.hidden, in.weight.t()), -1);
  const Tensor p = torch::log_softmax(torch::matmul(in.teacher_hidden, in.teacher_weight.t()), -1);
  return (p.exp() * (p - q)).sum(-1).mean();
}

Tensor plain_kl_with_known(const Inputs& in, const Tensor& where) {
  const Tensor q = torch::log_softmax(torch::matmul(in.hidden, in.weight.t()), -1);
  const Tensor p = torch::log_softmax(torch::matmul(in.teacher_hidden, in.teacher_weight.t()), -1);
  const Tensor certain = q.gather(1, in.targets.unsqueeze(1)).squeeze(1).neg();
  return torch::where(where, certain, (p.exp() * (p - q)).sum(-1)).mean();
}

/// The same value and, with a factor, the same gradients; that of the weight is added.
void expect_same(const Inputs& in, const LossGradient& found, const Tensor& plain, double factor) {
  const auto expected = torch::autograd::grad({plain * factor}, {in.hidden, in.weight});
  EXPECT_NEAR(found.loss.item<double>(), plain.item<double>(), 1e-12);
  EXPECT_FALSE(found.loss.requires_grad());
  EXPECT_TRUE(torch::allclose(found.hidden_gradient, expected[0], 1e-10, 1e-12));
  EXPECT_TRUE(torch::allclose(in.weight.grad(), expected[1], 1e-10, 1e-12));
}

TEST(Losses, cross_entropy_in_pieces_is_the_plain_one) {
  for (const int64_t tokens : {1, 5, 16}) {
    for (const int64_t piece : {1, 3, 16, 0}) {
      const Inputs in = random_inputs(tokens);
      const auto found =
          linear_cross_entropy(in.hidden, {in.weight}, in.targets, {.factor = 3, .piece = piece});
      expect_same(in, found, plain_cross_entropy(in), 3);
    }
  }
}

TEST(Losses, kl_in_pieces_is_the_plain_one) {
  for (const int64_t tokens : {1, 5, 16}) {
    for (const int64_t piece : {1, 3, 16, 0}) {
      const Inputs in = random_inputs(tokens);
      const auto found = linear_kl(in.hidden, {in.weight}, in.teacher_hidden, {in.teacher_weight},
                                   {}, {.factor = 3, .piece = piece});
      expect_same(in, found, plain_kl(in), 3);
    }
  }
}

TEST(Losses, kl_where_the_target_is_known_is_the_cross_entropy_of_that_token) {
  for (const int64_t piece : {1, 3, 0}) {
    const Inputs in = random_inputs(5);
    const Tensor where = torch::tensor({false, true, true, false, true});
    const auto found = linear_kl(in.hidden, {in.weight}, in.teacher_hidden, {in.teacher_weight},
                                 {where, in.targets}, {.factor = 3, .piece = piece});
    expect_same(in, found, plain_kl_with_known(in, where), 3);
  }
}

TEST(Losses, kl_of_a_model_to_itself_is_zero) {
  const Inputs in = random_inputs(7);
  const Weight head{in.weight.detach()};
  const auto found = linear_kl(in.hidden, head, in.hidden, head, {}, {.piece = 2});
  EXPECT_NEAR(found.loss.item<double>(), 0, 1e-12);
}

TEST(Losses, weight_gradient_adds_to_what_is_there_and_only_where_one_is_wanted) {
  const Inputs in = random_inputs(5);
  linear_cross_entropy(in.hidden, {in.weight}, in.targets);
  const Tensor once = in.weight.grad().clone();
  linear_cross_entropy(in.hidden, {in.weight}, in.targets);
  EXPECT_TRUE(torch::allclose(in.weight.grad(), once * 2));
  const Tensor frozen = in.weight.detach();
  linear_cross_entropy(in.hidden, {frozen}, in.targets);
  EXPECT_FALSE(frozen.grad().defined());
}

struct Place {
  torch::DeviceType device;
  torch::ScalarType compute;
  bool has_copy;
  double loss_tolerance, tolerance;  // relative; of gradients relative RMS
};

void PrintTo(const Place& place, std::ostream* out) {
  *out << c10::DeviceTypeName(place.device, /*lower_case=*/true) << "_" << place.compute
       << (place.has_copy ? "_copy" : "");
}

class LossPlaces : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  }

  /// The same numbers, rounded to bfloat16, in float64 and as this place holds them; parameters are
  /// float32.
  static std::pair<Inputs, Inputs> draw(int64_t tokens, const Sizes& sizes) {
    const Inputs in = random_inputs(tokens, sizes);
    const auto rounded = [](const Tensor& x) {
      return x.detach().to(torch::kBFloat16).to(torch::kFloat64);
    };
    // Logits near 1: bfloat16 ones are off by their size times 2^-9.
    const auto small = [&](const Tensor& weight) {
      return rounded(weight / std::sqrt(static_cast<double>(weight.size(1))));
    };
    const Inputs wide{rounded(in.hidden).requires_grad_(), small(in.weight).requires_grad_(),
                      in.targets, rounded(in.teacher_hidden), small(in.teacher_weight)};
    const auto& place = GetParam();
    const auto here = [&](const Tensor& x, torch::ScalarType type) {
      return x.detach().to(place.device, type);
    };
    return {wide,
            {here(wide.hidden, place.compute).requires_grad_(),
             here(wide.weight, torch::kFloat32).requires_grad_(), in.targets.to(place.device),
             here(wide.teacher_hidden, place.compute), here(wide.teacher_weight, place.compute)}};
  }

  static Weight head_of(const Inputs& in) {
    return {in.weight, GetParam().has_copy ? in.weight.detach().to(GetParam().compute) : Tensor()};
  }

  static void expect_close(const Inputs& wide, const Inputs& in, const LossGradient& found,
                           const Tensor& plain) {
    const Place& place = GetParam();
    const auto expected = torch::autograd::grad({plain}, {wide.hidden, wide.weight});
    EXPECT_EQ(found.loss.scalar_type(), torch::kFloat32);
    EXPECT_EQ(found.hidden_gradient.scalar_type(), place.compute);
    EXPECT_EQ(in.weight.grad().scalar_type(), torch::kFloat32);
    EXPECT_LT(relative_rms(found.loss, plain), place.loss_tolerance);
    EXPECT_LT(relative_rms(found.hidden_gradient, expected[0]), place.tolerance);
    EXPECT_LT(relative_rms(in.weight.grad(), expected[1]), place.tolerance);
  }
};

// Vocabularies that are and are not made of packs of 16 bytes; the last is longer than one round of
// a block's threads.
const std::vector<Sizes> kSizes = {{16, 11, 8}, {24, 64, 16}, {24, 1003, 16}, {32, 20'005, 16}};

TEST_P(LossPlaces, cross_entropy_agrees_with_float64) {
  for (const Sizes& sizes : kSizes) {
    for (const int64_t piece : {0, 48}) {
      const auto [wide, in] = draw(100, sizes);
      const auto found = linear_cross_entropy(in.hidden, head_of(in), in.targets, {.piece = piece});
      expect_close(wide, in, found, plain_cross_entropy(wide));
    }
  }
}

TEST_P(LossPlaces, kl_agrees_with_float64) {
  for (const Sizes& sizes : kSizes) {
    for (const int64_t piece : {0, 48}) {
      const auto [wide, in] = draw(100, sizes);
      const auto found = linear_kl(in.hidden, head_of(in), in.teacher_hidden, {in.teacher_weight},
                                   {}, {.piece = piece});
      expect_close(wide, in, found, plain_kl(wide));
    }
  }
}

TEST_P(LossPlaces, kl_with_known_targets_agrees_with_float64) {
  for (const Sizes& sizes : kSizes) {
    const auto [wide, in] = draw(100, sizes);
    const Tensor where = torch::arange(100).remainder(3).eq(1);
    const auto found = linear_kl(in.hidden, head_of(in), in.teacher_hidden, {in.teacher_weight},
                                 {where.to(in.hidden.device()), in.targets}, {.piece = 48});
    expect_close(wide, in, found, plain_kl_with_known(wide, where));
  }
}

INSTANTIATE_TEST_SUITE_P(places, LossPlaces,
                         testing::Values(Place{torch::kCPU, torch::kFloat32, false, 1e-5, 1e-5},
                                         Place{torch::kCPU, torch::kBFloat16, false, 2e-3, 5e-3},
                                         Place{torch::kCUDA, torch::kFloat32, false, 1e-5, 1e-5},
                                         Place{torch::kCUDA, torch::kBFloat16, false, 2e-3, 5e-3},
                                         Place{torch::kCUDA, torch::kBFloat16, true, 2e-3, 5e-3}));

TEST(Losses, shapes_that_disagree_are_named) {
  const Inputs in = random_inputs(4);
  EXPECT_ERROR(linear_cross_entropy(in.hidden, {in.teacher_weight}, in.targets),
               "expected hidden [N, D]");
  EXPECT_ERROR(linear_cross_entropy(in.hidden, {in.weight}, in.targets.narrow(0, 0, 2)),
               "expected targets [4]");
  EXPECT_ERROR(
      linear_kl(in.hidden, {in.weight}, in.teacher_hidden, {in.teacher_weight.narrow(0, 0, 5)}),
      "teacher's vocabulary to be 11, found 5");
}

}  // namespace
}  // namespace hypenet
