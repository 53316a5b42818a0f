// Losses of hand-written and random logits against float64; device kernels called directly too.
#include "ops/vocabulary_loss.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <limits>

#include "kernels/device.h"
#include "ops/mean_squared_error.h"
#include "ops/stream.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

struct Place {
  torch::DeviceType device;
  torch::ScalarType type;
  double tolerance;  // of gradients, relative RMS
};

void PrintTo(const Place& place, std::ostream* out) {
  *out << c10::DeviceTypeName(place.device, true) << "_" << place.type;
}

class VocabularyLoss : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  }

  /// A fresh copy: losses spend their logits.
  static Tensor here(const Tensor& x) {
    return x.to(GetParam().device, GetParam().type, false, true);
  }
  static Tensor rounded(const Tensor& x) { return x.to(GetParam().type).to(torch::kFloat64); }
};

Tensor plain_cross_entropy(const Tensor& logits, const Tensor& targets) {
  return torch::log_softmax(logits, -1).gather(1, targets.unsqueeze(1)).sum().neg();
}

/// 0 log 0 is 0.
Tensor plain_kl(const Tensor& logits, const Tensor& teacher) {
  const Tensor q = torch::log_softmax(logits, -1), p = torch::log_softmax(teacher, -1);
  return torch::where(p.exp() > 0, p.exp() * (p - q), 0).sum();
}

void expect_close(const LogitsLoss& found, const Tensor& plain, const Tensor& logits, double scale,
                  const Place& place) {
  const Tensor expected = torch::autograd::grad({plain * scale}, {logits})[0];
  EXPECT_LT(relative_rms(found.loss, plain), 1e-5);
  EXPECT_EQ(found.gradient.scalar_type(), place.type);
  EXPECT_LT(relative_rms(found.gradient, expected), place.tolerance);
}

TEST_P(VocabularyLoss, agrees_with_float64_at_any_vocabulary) {
  torch::manual_seed(1);
  for (const int64_t V : {1, 2, 7, 8, 129, 1000, 4104, 33'333}) {
    const Tensor logits = rounded(torch::randn({5, V}, torch::kFloat64) * 4).requires_grad_();
    const Tensor teacher = rounded(torch::randn({5, V}, torch::kFloat64) * 4);
    const Tensor targets = torch::randint(V, {5}, torch::kInt64);
    const double scale = 0.25;
    const auto entropy = cross_entropy(here(logits.detach()), targets.to(GetParam().device), scale);
    const auto kl = kl_divergence(here(logits.detach()), here(teacher), scale);
    if (V == 1) {  // one choice: nothing to lose
      EXPECT_EQ(entropy.loss.item<double>(), 0);
      EXPECT_EQ(kl.gradient.abs().max().item<double>(), 0);
      continue;
    }
    expect_close(entropy, plain_cross_entropy(logits, targets), logits, scale, GetParam());
    expect_close(kl, plain_kl(logits, teacher), logits, scale, GetParam());
  }
}

TEST_P(VocabularyLoss, huge_and_excluded_logits_are_exact) {
  constexpr double kNever = -1e30;
  const Tensor logits = rounded(torch::tensor({{1e4, 1e4 - 128, 0.0, -1e4, kNever},
                                               {kNever, 3.0, kNever, 2.0, kNever},
                                               {-1e4, -1e4, -1e4, -1e4, -1e4},
                                               {0.0, 1.0, 2.0, 3.0, 4.0}},
                                              torch::kFloat64))
                            .requires_grad_();
  const Tensor teacher = rounded(torch::tensor({{1e4, 1e4, kNever, 0.0, kNever},
                                                {kNever, 1.0, kNever, 2.0, kNever},
                                                {5.0, 4.0, 3.0, 2.0, 1.0},
                                                {1e4, -1e4, kNever, 0.0, 1.0}},
                                               torch::kFloat64));
  const Tensor targets = torch::tensor({0, 3, 2, 4}, torch::kInt64);
  expect_close(cross_entropy(here(logits.detach()), targets.to(GetParam().device), 1),
               plain_cross_entropy(logits, targets), logits, 1, GetParam());
  expect_close(kl_divergence(here(logits.detach()), here(teacher), 1), plain_kl(logits, teacher),
               logits, 1, GetParam());
}

TEST_P(VocabularyLoss, a_logit_that_is_not_a_number_is_not_hidden) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Tensor logits = torch::zeros({2, 100}, torch::kFloat64);
    logits[1][57] = bad;
    const Tensor targets = torch::zeros({2}, torch::kInt64).to(GetParam().device);
    const Tensor good = torch::zeros({2, 100}, torch::kFloat64);
    EXPECT_FALSE(std::isfinite(cross_entropy(here(logits), targets, 1).loss.item<double>()));
    EXPECT_FALSE(std::isfinite(kl_divergence(here(logits), here(good), 1).loss.item<double>()));
    EXPECT_FALSE(std::isfinite(kl_divergence(here(good), here(logits), 1).loss.item<double>()));
  }
}

TEST_P(VocabularyLoss, mean_squared_error_agrees_with_float64) {
  torch::manual_seed(2);
  for (const int64_t n : {1, 7, 8, 1000, 1'000'003}) {
    const Tensor output = rounded(torch::randn({n}, torch::kFloat64)).requires_grad_();
    const Tensor expected = rounded(torch::randn({n}, torch::kFloat64));
    const auto found = mean_squared_error(here(output.detach()), here(expected), 3);
    const Tensor plain = torch::mse_loss(output, expected);
    const Tensor gradient = torch::autograd::grad({plain * 3}, {output})[0];
    EXPECT_LT(relative_rms(found.parts.sum(), plain), 1e-5);
    EXPECT_LT(relative_rms(found.gradient, gradient), GetParam().tolerance);
    // Views that begin between the boundaries of wide loads.
    if (n < 2) continue;
    const auto part = mean_squared_error(here(output.detach()).narrow(0, 1, n - 1),
                                         here(expected).narrow(0, 1, n - 1), 3);
    const Tensor rest = torch::mse_loss(output.narrow(0, 1, n - 1), expected.narrow(0, 1, n - 1));
    EXPECT_LT(relative_rms(part.parts.sum(), rest), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(places, VocabularyLoss,
                         testing::Values(Place{torch::kCPU, torch::kFloat32, 1e-5},
                                         Place{torch::kCPU, torch::kBFloat16, 5e-3},
                                         Place{torch::kCUDA, torch::kFloat32, 1e-5},
                                         Place{torch::kCUDA, torch::kBFloat16, 5e-3}));

// The kernels' own contract: any stride of rows, aligned or not, everything written, nothing
// beside.
class VocabularyKernel : public testing::TestWithParam<int64_t> {};

TEST_P(VocabularyKernel, writes_rows_of_any_stride_and_nothing_else) {
  HYPENET_SKIP_WITHOUT_GPU();
  constexpr int64_t kRows = 3, kVocabulary = 1003;
  const int64_t stride = GetParam();
  torch::manual_seed(4);
  const auto options = torch::TensorOptions(torch::kBFloat16).device(torch::kCUDA);
  const Tensor values = torch::randn({kRows, kVocabulary}, options);
  const Tensor memory = torch::full({kRows, stride}, 7, options);
  const Tensor logits = memory.narrow(1, 0, kVocabulary);
  logits.copy_(values);
  const Tensor teacher = torch::randn({kRows, kVocabulary}, options);
  const Tensor losses = torch::full({kRows}, std::nan(""), options.dtype(torch::kFloat32));
  kernels::cuda::VocabularyLossParams params;
  params.logits = logits.mutable_data_ptr(), params.logits_stride = stride;
  params.teacher = teacher.const_data_ptr(), params.teacher_stride = kVocabulary;
  params.losses = losses.mutable_data_ptr<float>();
  params.rows = kRows, params.vocabulary = kVocabulary;
  throw_unless_ok("test", kernels::device_kernels().kl_divergence(params, current_stream(logits)));
  const Tensor wide = values.to(torch::kCPU, torch::kFloat64).requires_grad_();
  const Tensor plain = plain_kl(wide, teacher.to(torch::kCPU, torch::kFloat64));
  EXPECT_LT(relative_rms(losses.sum(), plain), 1e-5);
  EXPECT_LT(relative_rms(logits, torch::autograd::grad({plain}, {wide})[0]), 5e-3);
  if (stride > kVocabulary) {
    EXPECT_TRUE((memory.narrow(1, kVocabulary, stride - kVocabulary) == 7).all().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(strides, VocabularyKernel, testing::Values(1003, 1005, 1008));

TEST(VocabularyKernels, a_target_outside_the_vocabulary_gives_nan) {
  HYPENET_SKIP_WITHOUT_GPU();
  const Tensor logits = torch::zeros({2, 10}, torch::TensorOptions(torch::kCUDA));
  const Tensor targets = torch::tensor({3, 10}, torch::kInt64).to(torch::kCUDA);
  EXPECT_TRUE(std::isnan(cross_entropy(logits, targets, 1).loss.item<float>()));
}

TEST(SquaredErrorKernel, writes_every_part) {
  HYPENET_SKIP_WITHOUT_GPU();
  const auto options = torch::TensorOptions(torch::kCUDA);
  const Tensor output = torch::ones({9}, options), expected = torch::zeros({9}, options);
  const Tensor gradient = torch::full({9}, std::nan(""), options);
  const Tensor parts = torch::full({kernels::cuda::kSquaredErrorParts}, std::nan(""), options);
  kernels::cuda::MeanSquaredErrorParams params;
  params.output = output.const_data_ptr(), params.expected = expected.const_data_ptr();
  params.gradient = gradient.mutable_data_ptr(), params.parts = parts.mutable_data_ptr<float>();
  params.count = 9, params.scale = 2, params.type = kernels::DType::kFloat32;
  throw_unless_ok("test",
                  kernels::device_kernels().mean_squared_error(params, current_stream(output)));
  EXPECT_NEAR(parts.sum().item<float>(), 1, 1e-6);
  EXPECT_TRUE((gradient == 2).all().item<bool>());
}

}  // namespace
}  // namespace hypenet
