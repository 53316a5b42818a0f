// RWKV-4's recurrence: every form is the definition, a sum over the past in float64, and comes out
// as computed elsewhere (tests/data/mixers).
#include "ops/rwkv4.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/mixer_case.h"

namespace hypenet {
namespace {

using testing_support::expect_close;
using testing_support::expect_gradients_of_differences;
using testing_support::MixerCase;

/// As it is defined: nothing is taken out of the exponents.
Tensor by_definition(const Rwkv4Input& in) {
  const int64_t T = in.k.size(1);
  const Tensor w = in.time_decay.exp();
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < T; ++t) {
    Tensor weight = (in.time_first + in.k.select(1, t)).exp();
    Tensor sum = weight * in.v.select(1, t), count = weight;
    for (int64_t i = 0; i < t; ++i) {
      weight = (in.k.select(1, i) - static_cast<double>(t - 1 - i) * w).exp();
      sum = sum + weight * in.v.select(1, i), count = count + weight;
    }
    outputs.push_back(sum / count);
  }
  return torch::stack(outputs, 1);
}

Rwkv4Input make_input(int64_t T, int64_t B = 2) {
  torch::manual_seed(T);
  const auto wide = torch::TensorOptions(torch::kFloat64);
  return {.time_decay = torch::randn({6}, wide).requires_grad_(),
          .time_first = torch::randn({6}, wide).requires_grad_(),
          .k = torch::randn({B, T, 6}, wide).requires_grad_(),
          .v = torch::randn({B, T, 6}, wide).requires_grad_()};
}

std::vector<Tensor> with_gradients(const Rwkv4Input& in, const Tensor& output) {
  torch::manual_seed(5);
  const Tensor loss = (output * torch::randn(output.sizes(), torch::kFloat64)).sum();
  const std::vector<Tensor> leaves = {in.time_decay, in.time_first, in.k, in.v};
  // Of one token the definition has no decay.
  auto all = torch::autograd::grad({loss}, leaves, {}, std::nullopt, /*create_graph=*/false,
                                   /*allow_unused=*/true);
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!all[i].defined()) all[i] = torch::zeros_like(leaves[i]);
  }
  all.push_back(output.detach());
  return all;
}

TEST(Rwkv4, every_chunk_is_the_definition) {
  for (const int64_t T : {1, 2, 15, 16, 17, 40}) {
    const Rwkv4Input in = make_input(T);
    const auto expected = with_gradients(in, by_definition(in));
    for (const int64_t chunk : {1, 3, 16, 64}) {
      SCOPED_TRACE(c10::str("T ", T, ", chunk ", chunk));
      expect_close(with_gradients(in, rwkv4_recurrence(in, chunk).output), expected, 1e-10);
    }
  }
}

TEST(Rwkv4, a_state_goes_on_wherever_a_sequence_is_cut) {
  const torch::NoGradGuard no_grad;
  const Rwkv4Input whole = make_input(9);
  const Rwkv4Output expected = rwkv4_recurrence(whole);
  for (int64_t cut = 1; cut < 9; ++cut) {
    Rwkv4Input first = whole, rest = whole;
    for (Tensor Rwkv4Input::*x : {&Rwkv4Input::k, &Rwkv4Input::v}) {
      first.*x = (whole.*x).narrow(1, 0, cut), rest.*x = (whole.*x).narrow(1, cut, 9 - cut);
    }
    const Rwkv4Output before = rwkv4_recurrence(first);
    rest.state = before.state;
    const Rwkv4Output after = rwkv4_recurrence(rest);
    expect_close({torch::cat({before.output, after.output}, 1)}, {expected.output}, 1e-12);
    expect_close({after.state}, {expected.state}, 1e-12);
  }
}

TEST(Rwkv4, gradients_of_a_used_state_are_those_of_differences) {
  Rwkv4Input in = make_input(7);
  in.state = torch::rand({2, 3, 6}, torch::kFloat64);
  const auto loss = [&] {
    const Rwkv4Output out = rwkv4_recurrence(in, 3);
    // What the state means, whatever its exponent is.
    const Tensor left = out.state.narrow(1, 0, 2) * out.state.narrow(1, 2, 1).exp();
    return out.output.square().sum() + left.square().sum();
  };
  const auto gradients =
      torch::autograd::grad({loss()}, {in.time_decay, in.time_first, in.k, in.v});
  const std::vector<Tensor> found(gradients.begin(), gradients.begin() + 2);
  expect_gradients_of_differences({&in.time_decay, &in.time_first}, found, loss, 1e-6);
}

TEST(Rwkv4, large_keys_stay_finite_in_float32) {
  const torch::NoGradGuard no_grad;
  Rwkv4Input in = make_input(24);
  in.k = in.k * 200;
  const Tensor expected = rwkv4_recurrence(in).output;
  for (Tensor* x : {&in.time_decay, &in.time_first, &in.k, &in.v}) *x = x->to(torch::kFloat32);
  const Tensor found = rwkv4_recurrence(in).output;
  EXPECT_TRUE(found.isfinite().all().item<bool>());
  expect_close({found}, {expected}, 1e-3);
}

TEST(Rwkv4, steps_change_the_states_of_their_slots) {
  const torch::NoGradGuard no_grad;
  const Rwkv4Input whole = make_input(5, 1);
  const Tensor expected = rwkv4_recurrence(whole).output[0];
  Rwkv4Input rows = whole;
  rows.k = whole.k.transpose(0, 1).contiguous(), rows.v = whole.v.transpose(0, 1).contiguous();
  rows.state = rwkv4_empty_state(3, 6, torch::kFloat64);
  const Tensor untouched = rows.state[0].clone();
  const Tensor found = rwkv4_step(rows, torch::full({5}, 2, torch::kInt32));
  expect_close({found.squeeze(1)}, {expected}, 1e-12);
  EXPECT_TRUE(torch::equal(rows.state[0], untouched));
  const Tensor before = rows.state.clone();
  EXPECT_EQ(rwkv4_step(rows, torch::full({5}, -1, torch::kInt32)).abs().max().item<double>(), 0);
  EXPECT_TRUE(torch::equal(rows.state, before)) << "padding";
}

TEST(Rwkv4, comes_out_as_computed_elsewhere) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
    for (const char* name : {"op0", "op1", "op2"}) {
      SCOPED_TRACE(c10::str(name, " ", type));
      MixerCase x("rwkv4", name, type);
      const Rwkv4Input in{
          .time_decay = x.leaf("w"), .time_first = x.leaf("u"), .k = x.leaf("k"), .v = x.leaf("v")};
      x.expect({{"y", rwkv4_recurrence(in).output}}, tolerance);
    }
  }
}

TEST(Rwkv4, names_tensor_expected_and_found) {
  Rwkv4Input bad = make_input(5);
  bad.v = bad.v.narrow(2, 0, 4);
  EXPECT_ERROR(rwkv4_recurrence(bad), "rwkv4: v: expected shape [2, 5, 6], found [2, 5, 4]");
  bad = make_input(5);
  bad.state = torch::zeros({2, 2, 6});
  EXPECT_ERROR(rwkv4_recurrence(bad), "rwkv4: state: expected shape [2, 3, 6], found [2, 2, 6]");
}

}  // namespace
}  // namespace hypenet
