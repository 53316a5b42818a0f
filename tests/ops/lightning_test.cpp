// The three forms of lightning attention against each other: outputs, final state and every
// gradient.
#include "ops/lightning.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "ops/recurrence.h"
#include "ops/reference/recurrence.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

struct Case {
  int64_t B, T, H, d, chunk;
  bool has_state = true;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "B" << c.B << "_T" << c.T << "_H" << c.H << "_d" << c.d << "_C" << c.chunk
       << (c.has_state ? "_state" : "");
}

Recurrence make_input(const Case& c, torch::ScalarType type = torch::kFloat64) {
  torch::manual_seed(c.T * 1000 + c.H * 10 + c.d);
  const auto options = torch::TensorOptions(torch::kFloat64);
  const auto draw = [&] {
    return torch::randn({c.B, c.T, c.H, c.d}, options).to(type).requires_grad_();
  };
  Recurrence input{.q = draw(), .k = draw(), .v = draw(), .decay = lightning_decay(c.H)};
  input.scale = 1 / std::sqrt(double(c.d));
  input.chunk = c.chunk;
  if (!c.has_state) return input;
  const bool wide = type == torch::kFloat64;
  input.state = torch::randn({c.B, c.H, c.d, c.d}, options)
                    .to(wide ? torch::kFloat64 : torch::kFloat32)
                    .requires_grad_();
  return input;
}

/// The input in float64, as new leaves.
Recurrence widened(const Recurrence& input) {
  Recurrence wide = input;
  for (Tensor* x : {&wide.q, &wide.k, &wide.v, &wide.state}) {
    if (x->defined()) *x = x->detach().to(torch::kFloat64).requires_grad_();
  }
  wide.decay = input.decay.to(torch::kFloat64);
  return wide;
}

/// Output, final state, and the gradients of q, k, v and the initial state for a fixed random
/// cotangent.
std::vector<Tensor> results(RecurrenceOutput (*form)(const Recurrence&), const Recurrence& input) {
  const RecurrenceOutput out = form(input);
  torch::manual_seed(7);
  const auto options = torch::TensorOptions(torch::kFloat64);
  const Tensor weight = torch::randn(out.output.sizes(), options);
  const Tensor state_weight = torch::randn(out.state.sizes(), options);
  const Tensor loss = (out.output.to(torch::kFloat64) * weight).sum() +
                      (out.state.to(torch::kFloat64) * state_weight).sum();
  std::vector<Tensor> leaves = {input.q, input.k, input.v};
  if (input.state.defined()) leaves.push_back(input.state);
  std::vector<Tensor> all = {out.output.detach(), out.state.detach()};
  for (const Tensor& gradient : torch::autograd::grad({loss}, leaves)) all.push_back(gradient);
  return all;
}

/// The largest difference relative to the largest entry of the expected tensor.
double relative_error(const Tensor& found, const Tensor& expected) {
  const Tensor wide = expected.to(torch::kFloat64);
  return ((found.to(torch::kFloat64) - wide).abs().max() / wide.abs().max()).item<double>();
}

void expect_close(const std::vector<Tensor>& found, const std::vector<Tensor>& expected,
                  double tolerance) {
  const char* names[] = {"output", "state", "dq", "dk", "dv", "dstate"};
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << names[i];
    EXPECT_LT(relative_error(found[i], expected[i]), tolerance) << names[i];
  }
}

class LightningForms : public testing::TestWithParam<Case> {};

TEST_P(LightningForms, agree_in_float64) {
  const Recurrence input = make_input(GetParam());
  const auto parallel = results(reference::recurrence_quadratic, input);
  expect_close(results(recurrence_chunked, input), parallel, 1e-10);
  expect_close(results(reference::recurrence, input), parallel, 1e-10);
  const RecurrenceOutput decoded = recurrence_recurrent(input);
  expect_close({decoded.output, decoded.state}, {parallel[0], parallel[1]}, 1e-10);
}

// Sums of a few hundred float32 products, relative to the largest entry.
TEST_P(LightningForms, are_within_1e_5_in_float32) {
  const Recurrence input = make_input(GetParam(), torch::kFloat32);
  expect_close(results(recurrence_chunked, input),
               results(reference::recurrence_quadratic, widened(input)), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(lengths_and_chunks, LightningForms,
                         testing::Values(Case{2, 1, 4, 16, 64}, Case{2, 63, 3, 16, 64},
                                         Case{2, 64, 4, 16, 64}, Case{3, 65, 4, 16, 64},
                                         Case{1, 100, 2, 16, 1}, Case{2, 100, 2, 16, 7},
                                         Case{2, 256, 4, 32, 128}, Case{2, 100, 4, 32, 256},
                                         Case{2, 65, 4, 16, 64, false},
                                         Case{2, 64, 4, 16, 64, false},
                                         Case{1, 300, 2, 16, 128, false}, Case{2, 70, 2, 24, 32}));
INSTANTIATE_TEST_SUITE_P(heads, LightningForms,
                         testing::Values(Case{1, 65, 1, 16, 32}, Case{1, 65, 3, 16, 32},
                                         Case{1, 65, 6, 16, 32}, Case{1, 65, 9, 16, 32},
                                         Case{1, 65, 12, 16, 32}, Case{1, 65, 16, 16, 32}));
INSTANTIATE_TEST_SUITE_P(head_sizes, LightningForms,
                         testing::Values(Case{1, 65, 2, 64, 32}, Case{1, 65, 2, 128, 64},
                                         Case{1, 33, 1, 256, 16}));
INSTANTIATE_TEST_SUITE_P(thousand_tokens, LightningForms,
                         testing::Values(Case{1, 1000, 2, 16, 128}, Case{1, 1000, 1, 16, 64}));

TEST(LightningTest, float32_is_within_1e_5_of_float64) {
  const Recurrence input = make_input({2, 200, 4, 32, 64}, torch::kFloat32);
  const auto expected = results(reference::recurrence_quadratic, widened(input));
  expect_close(results(recurrence_chunked, input), expected, 1e-5);
  const RecurrenceOutput decoded = recurrence_recurrent(input);
  expect_close({decoded.output, decoded.state}, {expected[0], expected[1]}, 1e-5);
}

TEST(LightningTest, bfloat16_input_is_summed_in_float32_and_rounded_once) {
  const Recurrence input = make_input({2, 200, 4, 32, 64}, torch::kBFloat16);
  const RecurrenceOutput out = recurrence_chunked(input);
  EXPECT_EQ(out.output.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(out.state.scalar_type(), torch::kFloat32);
  // One rounding to 8 bits is 2^-9 = 2e-3 of the value itself; the state is not rounded.
  const auto expected = results(reference::recurrence_quadratic, widened(input));
  const auto found = results(recurrence_chunked, input);
  EXPECT_LT(relative_error(found[1], expected[1]), 1e-5);
  expect_close(found, expected, 4e-3);
}

TEST(LightningTest, state_carries_across_calls) {
  Recurrence input = make_input({2, 150, 3, 16, 32});
  const RecurrenceOutput whole = recurrence_chunked(input);
  const auto part = [&](int64_t begin, int64_t count, const Tensor& state) {
    Recurrence piece = input;
    for (Tensor* x : {&piece.q, &piece.k, &piece.v}) *x = x->narrow(1, begin, count);
    piece.state = state;
    return piece;
  };
  const RecurrenceOutput first = recurrence_chunked(part(0, 70, input.state));
  const RecurrenceOutput second = recurrence_chunked(part(70, 79, first.state));
  const RecurrenceOutput last = recurrence_recurrent(part(149, 1, second.state));
  const Tensor joined = torch::cat({first.output, second.output, last.output}, 1);
  EXPECT_LT(relative_error(joined, whole.output), 1e-12);
  EXPECT_LT(relative_error(last.state, whole.state), 1e-12);
}

TEST(LightningTest, without_needed_state_output_and_gradients_are_the_same) {
  for (const int64_t T : {64, 100, 256}) {
    Recurrence input = make_input({2, T, 2, 16, 64, false});
    const auto gradients = [&] {
      const Tensor output = recurrence_chunked(input).output;
      auto all = torch::autograd::grad({output.square().sum()}, {input.q, input.k, input.v});
      all.push_back(output.detach());
      return all;
    };
    const auto with_state = gradients();
    input.needs_state = false;
    EXPECT_FALSE(recurrence_chunked(input).state.defined());
    const auto without_state = gradients();
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_LT(relative_error(without_state[i], with_state[i]), 1e-12) << T << " " << i;
    }
  }
}

TEST(LightningTest, inputs_are_not_changed) {
  const Recurrence input = make_input({1, 40, 2, 16, 16});
  const Tensor state = input.state.detach().clone(), q = input.q.detach().clone();
  recurrence_chunked(input);
  recurrence_recurrent(input);
  EXPECT_TRUE(torch::equal(input.state, state));
  EXPECT_TRUE(torch::equal(input.q, q));
}

TEST(LightningTest, attention_takes_the_differentiable_form_when_gradients_are_asked_for) {
  const Recurrence input = make_input({1, 1, 2, 16, 16});
  EXPECT_TRUE(recurrence(input).output.requires_grad());
  const torch::NoGradGuard no_grad;
  const RecurrenceOutput decoded = recurrence(input);
  EXPECT_LT(relative_error(decoded.output, reference::recurrence(input).output), 1e-12);
}

TEST(LightningDecay, powers_of_two_follow_alibi) {
  const Tensor found = lightning_decay(4);
  EXPECT_TRUE(torch::equal(found, torch::tensor({0.25f, 0.0625f, 0.015625f, 0.00390625f})));
  EXPECT_FLOAT_EQ(lightning_decay(16)[0].item<float>(), 0.70710678f);
  EXPECT_FLOAT_EQ(lightning_decay(1)[0].item<float>(), 0.00390625f);
}

TEST(LightningDecay, other_counts_take_every_second_slope_of_twice_as_many) {
  const auto expect = [](int64_t heads, std::vector<float> slopes) {
    EXPECT_TRUE(torch::allclose(lightning_decay(heads), torch::tensor(slopes), 1e-6, 0)) << heads;
  };
  expect(3, {0.0625f, 0.00390625f, 0.25f});
  expect(6, {0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f});
  expect(12, {0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f,
              0.70710678f, 0.35355339f, 0.17677670f, 0.08838835f});
  expect(9,
         {0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f, 0.70710678f});
}

TEST(LightningErrors, name_tensor_expected_and_found) {
  const Recurrence good = make_input({2, 8, 4, 16, 8});
  Recurrence bad = good;
  bad.k = bad.k.narrow(1, 0, 7);
  for (const auto form : {recurrence_chunked, recurrence_recurrent, recurrence}) {
    EXPECT_ERROR(form(bad), "recurrence: k: expected shape [2, 8, 4, 16], found [2, 7, 4, 16]");
  }
  bad = good;
  bad.v = bad.v.to(torch::kFloat32);
  EXPECT_ERROR(recurrence_chunked(bad), "recurrence: v: expected type Double, found Float");
  bad = good;
  bad.state = bad.state.to(torch::kFloat32);
  EXPECT_ERROR(recurrence_chunked(bad), "recurrence: state: expected type Double, found Float");
  bad = good;
  bad.decay = lightning_decay(3);
  EXPECT_ERROR(recurrence_chunked(bad), "recurrence: decay: expected shape [4], found [3]");
  bad = good;
  bad.chunk = 0;
  EXPECT_ERROR(recurrence_chunked(bad), "expected chunk >= 1, found 0");
  bad = good;
  bad.q = bad.q.to(torch::kInt64);
  EXPECT_ERROR(recurrence_chunked(bad), "expected a floating type");
  EXPECT_ERROR(lightning_decay(0), "expected at least one head");
}

}  // namespace
}  // namespace hypenet
