// The delta rule's kernels against the float64 definition: outputs, final states and every
// gradient, with a decay per token and per channel; packed sequences, and the same bits twice.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/form.h"
#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

constexpr double kTolerance = 5e-3;  // of RMS(error) / RMS(reference)
// Where all keys are one, what tokens write cancels, and the rounded numbers' errors do not.
constexpr double kCancelling = 1.5e-2;
// Of a few sums one may be small beside its terms. With beta 0 few count: the only signal is the
// initial state, which ten tokens read before it has faded, and the kernels read it rounded to
// bfloat16. That alone makes ddecay's 0.0092 at d 128: its two heads' sums nearly cancel.
constexpr int64_t kFewNumbers = 100;

enum class Trial { kUsual, kFading, kRepeated };  // a channel or token at 25 nats; keys that repeat

struct Case {
  int64_t B, T, H, d;
  bool is_per_channel;
  bool has_state = true;
  Trial trial = Trial::kUsual;
  double beta = -1;                   // of all tokens; -1: between 0 and 2
  std::vector<int64_t> offsets = {};  // packed sequences
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << (c.is_per_channel ? "channel" : "token") << "_B" << c.B << "_T" << c.T << "_H" << c.H
       << "_d" << c.d << (c.has_state ? "_state" : "");
  if (c.trial == Trial::kFading) *out << "_fading";
  if (c.trial == Trial::kRepeated) *out << "_repeated";
  if (c.beta >= 0) *out << "_beta" << c.beta;
  for (const int64_t offset : c.offsets) *out << "_" << offset;
}

Tensor unit_rows(torch::IntArrayRef shape) {
  const Tensor x = torch::randn(shape);
  return x / x.norm(2, -1, true);
}

Recurrence make_input(const Case& c) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d);
  const auto ready = [](const Tensor& x, torch::ScalarType type) {
    return x.to(type).to(torch::kCUDA).requires_grad_();
  };
  const std::vector<int64_t> shape = {c.B, c.T, c.H, c.d};
  Tensor key = unit_rows(shape), decay = torch::rand(shape) * torch::rand(shape);
  if (c.trial == Trial::kRepeated) key = key.narrow(1, 0, 1).expand(shape).contiguous();
  if (!c.is_per_channel) decay = decay.select(-1, 0).clone();
  if (c.trial == Trial::kFading) (c.is_per_channel ? decay.select(-1, 3) : decay[0][5]).fill_(25);
  Tensor beta = 2 * torch::rand({c.B, c.T, c.H});
  if (c.beta >= 0) beta.fill_(c.beta);
  Recurrence input{.q = ready(unit_rows(shape), torch::kBFloat16),
                   .k = ready(key, torch::kBFloat16),
                   .v = ready(torch::randn(shape), torch::kBFloat16),
                   .decay = ready(decay, torch::kFloat32),
                   .beta = ready(beta, torch::kFloat32),
                   .is_delta = true,
                   .scale = 1 / std::sqrt(static_cast<double>(c.d))};
  const auto N = c.offsets.empty() ? c.B : static_cast<int64_t>(c.offsets.size()) - 1;
  if (c.has_state) input.state = ready(torch::randn({N, c.H, c.d, c.d}) * 0.3, torch::kFloat32);
  if (!c.offsets.empty()) {
    input.offsets = torch::tensor(c.offsets, torch::kInt32).to(torch::kCUDA);
  }
  return input;
}

/// Output, final state and gradients for fixed random cotangents that bfloat16 holds exactly.
std::vector<Tensor> results(const RecurrenceOutput& out, const Recurrence& input) {
  torch::manual_seed(7);
  const auto cotangent = [](const Tensor& x, double size) {
    return (torch::randn(x.sizes()) * size).to(torch::kBFloat16).to(x.device()).to(x.scalar_type());
  };
  const Tensor dstate = cotangent(out.state, 0.3);
  std::vector<Tensor> leaves = {input.q, input.k, input.v, input.decay, input.beta};
  if (input.state.defined()) leaves.push_back(input.state);
  std::vector<Tensor> all = {out.output.detach(), out.state.detach()};
  for (const Tensor& gradient :
       torch::autograd::grad({out.output, out.state}, leaves, {cotangent(out.output, 1), dstate})) {
    all.push_back(gradient);
  }
  return all;
}

Recurrence widened(const Recurrence& input) {
  Recurrence wide = input;
  for (Tensor* x : {&wide.q, &wide.k, &wide.v, &wide.decay, &wide.beta, &wide.state}) {
    if (x->defined()) *x = x->detach().to(torch::kFloat64).requires_grad_();
  }
  return wide;
}

class DeltaRuleDevice : public testing::TestWithParam<Case> {};

TEST_P(DeltaRuleDevice, agrees_with_its_definition) {
  HYPENET_SKIP_WITHOUT_GPU();
  const Case& c = GetParam();
  const Recurrence input = make_input(c), wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  std::vector<Tensor> found;
  {
    const NanFilledMemory nan_filled;
    found = results(recurrence_chunked(input), input);
  }
  // In float64 the chunked tensor code is the definition to 1e-10 (recurrence_test.cpp), and fits.
  const std::vector<Tensor> expected = results(recurrence_chunked(wide), wide);
  const char* names[] = {"output", "state", "dq", "dk", "dv", "ddecay", "dbeta", "dstate"};
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (expected[i].abs().max().item<double>() == 0) {
      EXPECT_EQ(found[i].abs().max().item<double>(), 0) << names[i];
    } else {
      const bool are_few = expected[i].numel() < kFewNumbers || c.beta == 0;
      const double tolerance = c.trial == Trial::kRepeated ? kCancelling
                               : are_few                   ? 2 * kTolerance
                                                           : kTolerance;
      EXPECT_LT(relative_rms(found[i], expected[i]), tolerance) << names[i];
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool is_per_channel : {false, true}) {
    for (const int64_t d : {64, 128}) {
      for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130, 1000}) {
        all.push_back({2, T, 3, d, is_per_channel, T != 64});
      }
      // Every width of a block's columns.
      for (const int64_t H : {16, 32, 70, 140}) all.push_back({1, 130, H, d, is_per_channel});
      all.push_back({1, 4500, 2, d, is_per_channel});
      all.push_back({1, 8200, 2, d, is_per_channel});  // long, with few heads: narrow columns
      for (const Trial trial : {Trial::kFading, Trial::kRepeated}) {
        all.push_back({1, 300, 2, d, is_per_channel, true, trial});
      }
      for (const double beta : {0.0, 1.0, 2.0}) {
        all.push_back({1, 300, 2, d, is_per_channel, true, Trial::kUsual, beta});
      }
      all.push_back({1, 200, 2, d, is_per_channel, true, Trial::kUsual, -1, {0, 1, 90, 90, 200}});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, DeltaRuleDevice, testing::ValuesIn(cases()));

TEST(DeltaRuleKernels, gives_the_same_bits_twice) {
  HYPENET_SKIP_WITHOUT_GPU();
  for (const bool is_per_channel : {false, true}) {
    const Recurrence input = make_input({2, 330, 16, 128, is_per_channel});
    const std::vector<Tensor> first = results(recurrence_chunked(input), input);
    const std::vector<Tensor> second = results(recurrence_chunked(input), input);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i])) << i;
  }
}

TEST(DeltaRuleKernels, takes_a_constant_decay_and_no_beta) {
  HYPENET_SKIP_WITHOUT_GPU();
  Recurrence input = make_input({2, 70, 3, 64, false});
  input.decay = torch::rand({3}).to(torch::kCUDA).requires_grad_();
  input.beta = Tensor();
  Recurrence wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  const RecurrenceOutput found = recurrence(input), expected = reference::recurrence(wide);
  EXPECT_LT(relative_rms(found.output, expected.output), kTolerance);
  const Tensor ddecay = torch::autograd::grad({found.output.sum()}, {input.decay})[0];
  const Tensor wide_ddecay = torch::autograd::grad({expected.output.sum()}, {wide.decay})[0];
  EXPECT_LT(relative_rms(ddecay, wide_ddecay), 4 * kTolerance);  // of a sum of 140 tokens
}

}  // namespace
}  // namespace hypenet
