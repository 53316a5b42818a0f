// RWKV-7's kernels against the float64 definition: outputs, final states and every gradient, and
// the same bits twice.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "ops/dplr.h"
#include "ops/form.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

constexpr double kTolerance = 5e-3;  // of RMS(error) / RMS(reference)
// Where keys are one, or fade so fast that few tokens count, sums are small beside their terms.
constexpr double kCancelling = 1e-2;
constexpr int64_t kFewTokens = 15;

enum class Trial { kUsual, kFading, kRepeated };  // up to 5 nats a token; keys that repeat

struct Case {
  int64_t B, T, H, d;
  bool has_state = true;
  Trial trial = Trial::kUsual;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_H" << c.H << "_d" << c.d << (c.has_state ? "_state" : "");
  if (c.trial == Trial::kFading) *out << "_fading";
  if (c.trial == Trial::kRepeated) *out << "_repeated";
}

std::vector<Tensor*> tensors_of(DplrRecurrence& in) {
  std::vector<Tensor*> all;
  for (Tensor* x : {&in.r, &in.k, &in.a, &in.b, &in.v, &in.decay, &in.state}) {
    if (x->defined()) all.push_back(x);
  }
  return all;
}

DplrRecurrence make_input(const Case& c) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d);
  const auto ready = [](const Tensor& x, torch::ScalarType type) {
    return x.to(type).to(torch::kCUDA).requires_grad_();
  };
  const std::vector<int64_t> shape = {c.B, c.T, c.H, c.d};
  const auto drawn = [&] { return torch::randn(shape); };
  Tensor keys = drawn();
  if (c.trial == Trial::kRepeated) keys = keys.narrow(1, 0, 1).expand(shape).contiguous();
  const Tensor kappa = keys / keys.norm(2, -1, true);
  const double most = c.trial == Trial::kFading ? 5 : 0.6065;  // nats a token
  Tensor decay = most * torch::rand(shape);
  decay.select(-1, 1).fill_(most), decay.select(-1, 2).fill_(0.002);
  DplrRecurrence in{.r = ready(drawn(), torch::kBFloat16),
                    .k = ready(c.trial == Trial::kRepeated ? kappa : drawn(), torch::kBFloat16),
                    .a = ready(-kappa, torch::kBFloat16),
                    .b = ready(kappa * torch::rand(shape), torch::kBFloat16),
                    .v = ready(drawn(), torch::kBFloat16),
                    .decay = ready(decay, torch::kFloat32)};
  if (c.has_state) in.state = ready(torch::randn({c.B, c.H, c.d, c.d}) * 0.5, torch::kFloat32);
  return in;
}

/// Output, final state and gradients for fixed random cotangents that bfloat16 holds exactly.
std::vector<Tensor> results(const RecurrenceOutput& out, DplrRecurrence in) {
  torch::manual_seed(7);
  const auto cotangent = [](const Tensor& x, double size) {
    return (torch::randn(x.sizes()) * size).to(torch::kBFloat16).to(x.device()).to(x.scalar_type());
  };
  const Tensor dstate = cotangent(out.state, 0.3);
  std::vector<Tensor> leaves;
  for (const Tensor* x : tensors_of(in)) leaves.push_back(*x);
  std::vector<Tensor> all = {out.output.detach(), out.state.detach()};
  for (const Tensor& gradient :
       torch::autograd::grad({out.output, out.state}, leaves, {cotangent(out.output, 1), dstate})) {
    all.push_back(gradient);
  }
  return all;
}

DplrRecurrence widened(DplrRecurrence in) {
  for (Tensor* x : tensors_of(in)) *x = x->detach().to(torch::kFloat64).requires_grad_();
  return in;
}

class DplrDevice : public testing::TestWithParam<Case> {};

TEST_P(DplrDevice, agrees_with_its_definition) {
  HYPENET_SKIP_WITHOUT_GPU();
  const Case& c = GetParam();
  const DplrRecurrence input = make_input(c), wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  std::vector<Tensor> found;
  {
    const NanFilledMemory nan_filled;
    found = results(dplr_recurrence(input), input);
  }
  // In float64 the chunked tensor code is the definition to 1e-10 (dplr_test.cpp), and fits.
  const std::vector<Tensor> expected = results(dplr_chunked(wide), wide);
  const char* names[] = {"output", "state", "dr", "dk", "da", "db", "dv", "ddecay", "dstate"};
  ASSERT_EQ(found.size(), expected.size());
  const bool is_usual = c.trial == Trial::kUsual && c.T >= kFewTokens;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(relative_rms(found[i], expected[i]), is_usual ? kTolerance : kCancelling) << names[i];
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t d : {64, 128}) {
    for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130, 1000}) {
      all.push_back({2, T, 3, d, T != 64});
    }
    for (const int64_t H : {16, 32, 70, 140}) all.push_back({1, 130, H, d});  // every slab's width
    all.push_back({1, 4500, 2, d});
    for (const Trial trial : {Trial::kFading, Trial::kRepeated}) {
      all.push_back({1, 300, 2, d, true, trial});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, DplrDevice, testing::ValuesIn(cases()));

TEST(DplrKernels, gives_the_same_bits_twice) {
  HYPENET_SKIP_WITHOUT_GPU();
  for (const int64_t d : {64, 128}) {
    const DplrRecurrence input = make_input({2, 330, 16, d});
    const std::vector<Tensor> first = results(dplr_recurrence(input), input);
    const std::vector<Tensor> second = results(dplr_recurrence(input), input);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i])) << i;
  }
}

TEST(DplrKernels, takes_wider_keys_and_gives_their_gradients_in_their_type) {
  HYPENET_SKIP_WITHOUT_GPU();
  DplrRecurrence input = make_input({2, 70, 3, 64});
  for (Tensor* x : {&input.k, &input.a, &input.b}) {
    *x = x->detach().to(torch::kFloat32).requires_grad_();
  }
  ASSERT_EQ(form_of(input), Form::kDevice);
  const DplrRecurrence wide = widened(input);
  const std::vector<Tensor> found = results(dplr_recurrence(input), input);
  const std::vector<Tensor> expected = results(dplr_chunked(wide), wide);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(relative_rms(found[i], expected[i]), kTolerance) << i;
  }
  EXPECT_EQ(found[3].scalar_type(), torch::kFloat32);
}

}  // namespace
}  // namespace hypenet
