// The kernels of the recurrence with a decay per token against the float64 definition: outputs,
// final states and every gradient; packed sequences, and the same bits twice.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>
#include <string>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/compare.h"

namespace hypenet {
namespace {

constexpr double kTolerance = 5e-3;  // of RMS(error) / RMS(reference)
// Of a few sums one may be small beside its terms.
constexpr int64_t kFewNumbers = 400;
// What a head that hardly fades has as ddecay is nearly one number for all its tokens: a sum over
// the state times its gradient, each right to 1.7e-3 and rounded to bfloat16. Of few heads it may
// be small beside its terms. The largest error of the cases below is 0.0156.
constexpr double kOfStates = 2e-2;

// Decays: of every kind, head by head; 10 nats of every head, token by token; none.
enum class Trial { kUsual, kFast, kLasting };

struct Case {
  int64_t B, T, H, d;
  bool has_state = true, has_beta = true;
  Trial trial = Trial::kUsual;
  std::vector<int64_t> offsets = {};  // packed sequences
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_H" << c.H << "_d" << c.d << (c.has_state ? "_state" : "")
       << (c.has_beta ? "_beta" : "");
  if (c.trial == Trial::kFast) *out << "_fast";
  if (c.trial == Trial::kLasting) *out << "_lasting";
  for (const int64_t offset : c.offsets) *out << "_" << offset;
}

#define SKIP_WITHOUT_KERNELS() \
  HYPENET_SKIP_WITHOUT_GPU();  \
  if (!kernels::device_kernels().has_token_decay(64)) GTEST_SKIP() << "no Hopper GPU"

/// Nats of each token and head [B, T, H]: heads of 10, 1, 0.1, .. and one whose every eighth token
/// has 10 between others of next to none.
Tensor decays_of(const Case& c) {
  Tensor decay = torch::rand({c.B, c.T, c.H});
  if (c.trial == Trial::kLasting) return torch::zeros_like(decay);
  if (c.trial == Trial::kFast) return 8 + 4 * decay;
  const auto slots = torch::arange(c.H) % 5;
  const Tensor sizes = 10 * torch::pow(0.1, slots.to(torch::kFloat32));
  const Tensor jumps = torch::where(torch::rand({c.B, c.T, c.H}) < 0.125, 10.0, 0.01);
  return torch::where(slots == 4, jumps, decay * sizes);
}

Recurrence make_input(const Case& c) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d);
  const auto ready = [](const Tensor& x, torch::ScalarType type) {
    return x.to(type).to(torch::kCUDA).requires_grad_();
  };
  const auto rows = [&] { return ready(torch::randn({c.B, c.T, c.H, c.d}), torch::kBFloat16); };
  Recurrence input{.q = rows(),
                   .k = rows(),
                   .v = rows(),
                   .decay = ready(decays_of(c), torch::kFloat32),
                   .scale = 1 / std::sqrt(static_cast<double>(c.d))};
  if (c.has_beta) {
    const Tensor beta = torch::rand({c.B, c.T, c.H});
    input.beta = ready(torch::where(beta < 0.05, 0.0, beta), torch::kFloat32);
  }
  const auto N = c.offsets.empty() ? c.B : static_cast<int64_t>(c.offsets.size()) - 1;
  if (c.has_state) input.state = ready(torch::randn({N, c.H, c.d, c.d}), torch::kFloat32);
  if (!c.offsets.empty()) {
    input.offsets = torch::tensor(c.offsets, torch::kInt32).to(torch::kCUDA);
  }
  return input;
}

struct Named {
  const char* name;
  Tensor x;
};

/// Output, final state and gradients for fixed random cotangents that bfloat16 holds exactly.
std::vector<Named> results(const RecurrenceOutput& out, const Recurrence& input) {
  torch::manual_seed(7);
  const auto cotangent = [](const Tensor& x) {
    return torch::randn(x.sizes()).to(torch::kBFloat16).to(x.device()).to(x.scalar_type());
  };
  const Tensor dstate = cotangent(out.state), doutput = cotangent(out.output);
  std::vector<Named> all = {{"output", out.output.detach()}, {"state", out.state.detach()}};
  std::vector<Tensor> leaves;
  for (const auto& [name, x] :
       {Named{"dq", input.q}, Named{"dk", input.k}, Named{"dv", input.v},
        Named{"ddecay", input.decay}, Named{"dbeta", input.beta}, Named{"dstate", input.state}}) {
    if (!x.defined()) continue;
    leaves.push_back(x), all.push_back({name, {}});
  }
  const auto gradients = torch::autograd::grad({out.output, out.state}, leaves, {doutput, dstate});
  for (size_t i = 0; i < gradients.size(); ++i) all[2 + i].x = gradients[i];
  return all;
}

Recurrence widened(const Recurrence& input) {
  Recurrence wide = input;
  for (Tensor* x : {&wide.q, &wide.k, &wide.v, &wide.decay, &wide.beta, &wide.state}) {
    if (x->defined()) *x = x->detach().to(torch::kFloat64).requires_grad_();
  }
  wide.chunk = 64;  // its sums of 10 nats a token keep their digits
  return wide;
}

class TokenDecayDevice : public testing::TestWithParam<Case> {};

TEST_P(TokenDecayDevice, agrees_with_its_definition) {
  SKIP_WITHOUT_KERNELS();
  const Case& c = GetParam();
  const Recurrence input = make_input(c), wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  std::vector<Named> found;
  {
    const NanFilledMemory nan_filled;
    found = results(recurrence_chunked(input), input);
  }
  // In float64 the chunked tensor code is the definition to 1e-10 (recurrence_test.cpp), and fits.
  const std::vector<Named> expected = results(recurrence_chunked(wide), wide);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    double tolerance = expected[i].x.numel() < kFewNumbers ? 3 * kTolerance : kTolerance;
    const bool is_of_states = found[i].name == std::string("ddecay") && c.has_state;
    if (is_of_states && c.trial == Trial::kUsual) tolerance = kOfStates;
    EXPECT_LT(relative_rms(found[i].x, expected[i].x), tolerance) << found[i].name;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t d : {64, 128}) {
    for (const int64_t T : {1, 15, 63, 64, 65, 130, 1000}) all.push_back({2, T, 5, d, T != 64});
    all.push_back({1, 4500, 5, d});
    all.push_back({40, 300, 10, d});  // more heads than a device holds at once: one segment
    all.push_back({1, 1100, 5, d, false, false});
    for (const Trial trial : {Trial::kFast, Trial::kLasting}) {
      all.push_back({1, 1100, 2, d, true, true, trial});
    }
    all.push_back({1, 200, 5, d, true, true, Trial::kUsual, {0, 1, 90, 90, 200}});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(sizes, TokenDecayDevice, testing::ValuesIn(cases()));

TEST(TokenDecayKernels, gives_the_same_bits_twice) {
  SKIP_WITHOUT_KERNELS();
  for (const int64_t T : {330, 2500}) {
    const Recurrence input = make_input({2, T, 16, 128});
    const std::vector<Named> first = results(recurrence_chunked(input), input);
    const std::vector<Named> second = results(recurrence_chunked(input), input);
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(torch::equal(first[i].x, second[i].x)) << first[i].name;
    }
  }
}

TEST(TokenDecayKernels, a_prompt_in_pieces_is_one) {
  SKIP_WITHOUT_KERNELS();
  const torch::NoGradGuard no_grad;
  const Recurrence input = make_input({1, 300, 5, 128});
  const RecurrenceOutput expected = recurrence(input);
  std::vector<Tensor> outputs;
  Tensor state = input.state;
  int64_t begin = 0;
  for (const int64_t tokens : {64, 1, 3, 132, 100}) {
    Recurrence part = input;
    for (Tensor* x : {&part.q, &part.k, &part.v, &part.decay, &part.beta}) {
      *x = x->narrow(1, begin, tokens);
    }
    part.state = state;
    const RecurrenceOutput out = recurrence(part);
    outputs.push_back(out.output), state = out.state;
    begin += tokens;
  }
  EXPECT_LT(relative_rms(torch::cat(outputs, 1), expected.output), kTolerance);
  EXPECT_LT(relative_rms(state, expected.state), kTolerance);
}

TEST(TokenDecayKernels, takes_a_learned_decay_of_each_head) {
  SKIP_WITHOUT_KERNELS();
  Recurrence input = make_input({2, 70, 3, 64});
  input.decay = torch::rand({3}).to(torch::kCUDA).requires_grad_();
  input.beta = Tensor();
  const Recurrence wide = widened(input);
  ASSERT_EQ(form_of(input), Form::kDevice);
  const RecurrenceOutput found = recurrence(input), expected = reference::recurrence(wide);
  EXPECT_LT(relative_rms(found.output, expected.output), kTolerance);
  const Tensor ddecay = torch::autograd::grad({found.output.sum()}, {input.decay})[0];
  const Tensor wide_ddecay = torch::autograd::grad({expected.output.sum()}, {wide.decay})[0];
  EXPECT_LT(relative_rms(ddecay, wide_ddecay), 4 * kTolerance);  // of a sum of 140 tokens
}

}  // namespace
}  // namespace hypenet
