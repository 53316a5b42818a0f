// The laws of the linear recurrence, for every row of its table: forms agree, gradients are those
// of differences, packed sequences and steps are sequences alone. Two published mixers' recurrences
// come out as computed elsewhere (tests/data/mixers).
#include "ops/recurrence.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>
#include <functional>

#include "ops/reference/recurrence.h"
#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/mixer_case.h"

namespace hypenet {
namespace {

using testing_support::expect_close;
using testing_support::expect_gradients_of_differences;
using testing_support::read_case;

using Form = std::function<RecurrenceOutput(const Recurrence&)>;

struct Row {
  const char* name;
  int64_t decay_dimensions;  // 1: per head, 3: per token, 4: per key channel
  bool is_delta = false, has_beta = true, learns_decay = true;
};

constexpr Row kRows[] = {{"constant", 1, false, false, false},
                         {"head", 1},
                         {"token", 3},
                         {"channel", 4},
                         {"constant_delta", 1, true, false},
                         {"head_delta", 1, true},
                         {"token_delta", 3, true},
                         {"channel_delta", 4, true}};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

/// The tensors that gradients may be asked for.
std::vector<Tensor*> tensors_of(Recurrence& input) {
  std::vector<Tensor*> all;
  for (Tensor* x : {&input.q, &input.k, &input.v, &input.decay, &input.beta, &input.state}) {
    if (x->defined()) all.push_back(x);
  }
  return all;
}

/// Two heads of 8 and dv numbers; where channels have a decay, one fades by 25 nats a token.
Recurrence make_input(const Row& row, int64_t T, bool has_state, int64_t B = 2, int64_t dv = 6) {
  const int64_t H = 2, dk = 8;
  torch::manual_seed(T);
  const auto options = torch::TensorOptions(torch::kFloat64);
  Recurrence input{.q = torch::randn({B, T, H, dk}, options),
                   .k = torch::randn({B, T, H, dk}, options),
                   .v = torch::randn({B, T, H, dv}, options)};
  input.k = input.k / input.k.norm(2, -1, true);
  input.decay = torch::rand({B, T, H, dk}, options);
  if (row.decay_dimensions == 4) input.decay.select(-1, 1).fill_(25);
  if (row.decay_dimensions == 3) input.decay = input.decay.select(-1, 0).clone();
  if (row.decay_dimensions == 1) input.decay = torch::rand({H}, options);
  if (row.has_beta) input.beta = 2 * torch::rand({B, T, H}, options);
  input.is_delta = row.is_delta;
  input.scale = 0.35;
  if (has_state) input.state = torch::randn({B, H, dk, dv}, options);
  for (Tensor* x : tensors_of(input)) {
    x->requires_grad_(x != &input.decay || row.learns_decay);
  }
  return input;
}

/// A fixed random weighing of output and final state.
Tensor loss_of(const RecurrenceOutput& out) {
  torch::manual_seed(7);
  const auto weighed = [](const Tensor& x) {
    // However x lies in memory, and of whatever type.
    return (x * torch::randn(x.sizes(), torch::kFloat64).to(x.scalar_type())).sum();
  };
  return weighed(out.output) + weighed(out.state);
}

std::vector<Tensor> gradients(const Tensor& loss, Recurrence input) {
  std::vector<Tensor> leaves;
  for (const Tensor* x : tensors_of(input)) {
    if (x->requires_grad()) leaves.push_back(*x);
  }
  return torch::autograd::grad({loss}, leaves);
}

/// Output, final state, and the gradients of all that have one.
std::vector<Tensor> results(const Form& form, const Recurrence& input) {
  const RecurrenceOutput out = form(input);
  std::vector<Tensor> all = gradients(loss_of(out), input);
  all.insert(all.begin(), {out.output.detach(), out.state.detach()});
  return all;
}

RecurrenceOutput in_chunks(Recurrence input, int64_t chunk) {
  input.chunk = chunk;
  return recurrence_chunked(input);
}

const Form kChunks16 = [](const Recurrence& input) { return in_chunks(input, 16); };
const Form kChunks64 = [](const Recurrence& input) { return in_chunks(input, 64); };

class RecurrenceLaws : public testing::TestWithParam<Row> {};

TEST_P(RecurrenceLaws, all_forms_agree) {
  for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130}) {
    for (const bool has_state : {false, true}) {
      SCOPED_TRACE(c10::str("T ", T, has_state ? " state" : ""));
      const Recurrence input = make_input(GetParam(), T, has_state);
      const std::vector<Tensor> expected = results(reference::recurrence, input);
      expect_close(results(reference::recurrence_quadratic, input), expected, 1e-10);
      expect_close(results(kChunks16, input), expected, 1e-10);
      expect_close(results(kChunks64, input), expected, 1e-10);
      const RecurrenceOutput decoded = recurrence_recurrent(input);
      expect_close({decoded.output, decoded.state}, {expected[0], expected[1]}, 1e-10);
    }
  }
}

TEST_P(RecurrenceLaws, gradients_are_those_of_differences) {
  Recurrence input = make_input(GetParam(), 19, true);
  const std::vector<Tensor> found = gradients(loss_of(kChunks16(input)), input);
  std::vector<Tensor*> leaves;
  for (Tensor* x : tensors_of(input)) {
    if (x->requires_grad()) leaves.push_back(x);
  }
  const auto loss = [&] { return loss_of(kChunks16(input)); };
  expect_gradients_of_differences(leaves, found, loss, 1e-5);
}

/// Row n of `input` alone; with offsets, sequence n.
Recurrence alone(const Recurrence& input, int64_t dimension, int64_t begin, int64_t count,
                 int64_t n) {
  Recurrence part = input;
  part.offsets = Tensor();
  for (Tensor* x : {&part.q, &part.k, &part.v, &part.decay, &part.beta}) {
    if (x->defined() && x->dim() > 1) *x = x->narrow(dimension, begin, count);
  }
  part.state = input.state.narrow(0, n, 1);
  return part;
}

TEST_P(RecurrenceLaws, packed_sequences_are_those_alone) {
  const std::vector<int64_t> offsets = {0, 1, 18, 18, 90};
  const auto N = static_cast<int64_t>(offsets.size()) - 1;
  Recurrence input = make_input(GetParam(), offsets.back(), false, 1);
  input.state = torch::randn({N, 2, 8, 6}, torch::kFloat64).requires_grad_();
  input.offsets = torch::tensor(offsets, torch::kInt64);
  const Form one_by_one = [&](const Recurrence& packed) {
    std::vector<Tensor> outputs, states;
    for (int64_t n = 0; n < N; ++n) {
      const int64_t tokens = offsets[n + 1] - offsets[n];
      const Recurrence part = alone(packed, 1, offsets[n], tokens, n);
      const RecurrenceOutput out =
          tokens > 0 ? reference::recurrence(part) : RecurrenceOutput{part.v, part.state};
      outputs.push_back(out.output), states.push_back(out.state);
    }
    return RecurrenceOutput{torch::cat(outputs, 1), torch::cat(states)};
  };
  const std::vector<Tensor> expected = results(one_by_one, input);
  expect_close(results(kChunks16, input), expected, 1e-10);
  expect_close(results(reference::recurrence, input), expected, 1e-10);
  const RecurrenceOutput decoded = recurrence_recurrent(input);
  expect_close({decoded.output, decoded.state}, {expected[0], expected[1]}, 1e-10);
}

/// The tensor code takes the first, the kernel of a CPU the others: columns in fours, in whole
/// blocks, and both.
struct Numbers {
  torch::ScalarType type;
  int64_t dv;
  double tolerance;
};
constexpr Numbers kNumbers[] = {{torch::kFloat64, 6, 1e-12},
                                {torch::kFloat32, 12, 1e-5},
                                {torch::kFloat32, 128, 1e-5},
                                {torch::kFloat32, 84, 1e-5}};

Recurrence as(Recurrence input, torch::ScalarType type) {
  for (Tensor* x : tensors_of(input)) *x = x->detach().to(type);
  return input;
}

TEST_P(RecurrenceLaws, steps_change_the_states_of_their_slots) {
  const torch::NoGradGuard no_grad;
  for (const Numbers& numbers : kNumbers) {
    Recurrence wide = make_input(GetParam(), 1, true, 4, numbers.dv);
    const Tensor expected_state = wide.state.detach().clone();
    const std::vector<int32_t> slots = {2, -1, 0, 2};
    std::vector<Tensor> expected;
    for (int64_t n = 0; n < 4; ++n) {
      Recurrence row = alone(wide, 0, n, 1, n);
      if (slots[n] < 0) {
        expected.push_back(torch::zeros_like(row.v));
        continue;
      }
      row.state = expected_state.narrow(0, slots[n], 1);
      const RecurrenceOutput out = reference::recurrence(row);
      expected.push_back(out.output);
      expected_state[slots[n]] = out.state[0];
    }
    Recurrence input = as(wide, numbers.type);
    input.state = input.state.clone();
    const Tensor start = input.state.clone();
    const Tensor output = recurrence_step(input, torch::tensor(slots, torch::kInt32));
    expect_close({output, input.state}, {torch::cat(expected), expected_state}, numbers.tolerance);
    EXPECT_TRUE(torch::equal(input.state[1], start[1]));  // nobody's
    const RecurrenceOutput whole = recurrence_recurrent(input);
    expect_close({recurrence_step(input, {}), input.state}, {whole.output, whole.state}, 1e-12);
  }
}

TEST_P(RecurrenceLaws, forms_without_gradient_agree) {
  const torch::NoGradGuard no_grad;
  for (const Numbers& numbers : kNumbers) {
    for (const int64_t T : {1, 5, 70}) {
      for (const bool has_state : {false, true}) {
        SCOPED_TRACE(c10::str("dv ", numbers.dv, " T ", T, has_state ? " state" : ""));
        const Recurrence wide = make_input(GetParam(), T, has_state, 2, numbers.dv);
        const RecurrenceOutput expected = reference::recurrence(wide);
        const Recurrence input = as(wide, numbers.type);
        for (const Form& form : {Form(recurrence_recurrent), Form(recurrence_chunked)}) {
          const RecurrenceOutput found = form(input);
          expect_close({found.output, found.state}, {expected.output, expected.state},
                       numbers.tolerance);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, RecurrenceLaws, testing::ValuesIn(kRows),
                         [](const auto& info) { return std::string(info.param.name); });

/// Keys that repeat, beta 0, 1 and 2, a head or a channel that fades at once and one that never
/// does; T tokens.
Recurrence make_hard_input(int64_t decay_dimensions, int64_t T, torch::ScalarType type) {
  const int64_t H = 2, d = 8;
  torch::manual_seed(5);
  const auto wide = torch::TensorOptions(torch::kFloat64);
  const auto drawn = [&] { return torch::randn({1, T, H, d}, wide); };
  const Tensor keys = torch::randn({3, d}, wide);
  Recurrence input{.q = drawn(), .k = drawn(), .v = drawn()};
  input.k =
      (keys / keys.norm(2, -1, true)).index_select(0, torch::randint(3, {T * H}, torch::kInt64));
  input.k = input.k.view({1, T, H, d});
  input.decay = torch::zeros({1, T, H, d}, wide);
  if (decay_dimensions == 4) input.decay.select(3, 1).fill_(25);
  if (decay_dimensions == 3) {
    input.decay = input.decay.select(3, 0).clone();
    input.decay.select(2, 1).fill_(25);
  }
  input.beta = torch::randint(3, {1, T, H}, wide);
  input.is_delta = true, input.scale = 0.35;
  for (Tensor* x : tensors_of(input)) *x = x->to(type).requires_grad_();
  return input;
}

TEST(RecurrenceLengths, thousands_of_tokens_in_float32_stay_near_float64) {
  for (const int64_t decay_dimensions : {3, 4}) {
    for (const int64_t T : {1, 4500}) {
      SCOPED_TRACE(c10::str("decay of ", decay_dimensions, " dimensions, T ", T));
      const std::vector<Tensor> expected =
          results(kChunks64, make_hard_input(decay_dimensions, T, torch::kFloat64));
      const Recurrence input = make_hard_input(decay_dimensions, T, torch::kFloat32);
      expect_close(results(kChunks64, input), expected, 2e-5);
      const torch::NoGradGuard no_grad;
      const RecurrenceOutput tokens = recurrence_recurrent(input);
      expect_close({tokens.output, tokens.state}, {expected[0], expected[1]}, 2e-5);
    }
  }
}

using CaseName = std::tuple<const char*, const char*>;  // mixer, case
class RecurrenceFixtures : public testing::TestWithParam<CaseName> {
 protected:
  void expect_found(const Form& form, torch::ScalarType type, double tolerance) const {
    std::map<std::string, Tensor> x = read_case(std::get<0>(GetParam()), std::get<1>(GetParam()));
    const auto leaf = [&](const char* name) {
      return x.contains(name) ? x[name].to(type, false, true).requires_grad_() : Tensor();
    };
    Recurrence input{.q = leaf("q"), .k = leaf("k"), .v = leaf("v")};
    const Tensor g = leaf("g");
    input.decay = -g, input.beta = leaf("beta"), input.is_delta = true;
    input.scale = 1 / std::sqrt(static_cast<double>(input.q.size(3)));
    input.state = leaf("state_in");
    const RecurrenceOutput out = form(input);
    std::vector<Tensor> leaves = {input.q, input.k, input.v, g, input.beta};
    std::vector<Tensor> expected = {x["o"],      x["state_out"], x["grad.q"],   x["grad.k"],
                                    x["grad.v"], x["grad.g"],    x["grad.beta"]};
    if (input.state.defined()) {
      leaves.push_back(input.state);
      expected.push_back(x["grad.state_in"]);
    }
    std::vector<Tensor> found = torch::autograd::grad(
        {out.output, out.state}, leaves, {x["d_o"].to(type), x["d_state_out"].to(type)});
    found.insert(found.begin(), {out.output, out.state});
    expect_close(found, expected, tolerance);
    if (!input.state.defined()) return;
    input.state = Tensor();
    const RecurrenceOutput zero = form(input);
    expect_close({zero.output, zero.state}, {x["zero.o"], x["zero.state_out"]}, tolerance);
  }
};

TEST_P(RecurrenceFixtures, come_out_in_float64) {
  for (const Form& form : {Form(reference::recurrence), kChunks16, kChunks64}) {
    expect_found(form, torch::kFloat64, 1e-6);
  }
}

TEST_P(RecurrenceFixtures, come_out_in_float32) {
  for (const Form& form : {kChunks16, kChunks64}) expect_found(form, torch::kFloat32, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Mixers, RecurrenceFixtures,
                         testing::Combine(testing::Values("gdn", "kda"),
                                          testing::Values("op0", "op1", "op2")),
                         [](const auto& info) {
                           return c10::str(std::get<0>(info.param), "_", std::get<1>(info.param));
                         });

TEST(RecurrenceErrors, name_tensor_expected_and_found) {
  const Recurrence good = make_input(kRows[3], 5, true);
  Recurrence bad = good;
  bad.decay = bad.decay.narrow(3, 0, 6);
  EXPECT_ERROR(recurrence(bad),
               "recurrence: decay: expected shape [2, 5, 2, 8], found [2, 5, 2, 6]");
  bad = good;
  bad.beta = bad.beta.narrow(1, 0, 4);
  EXPECT_ERROR(recurrence(bad), "recurrence: beta: expected shape [2, 5, 2], found [2, 4, 2]");
  bad = good;
  bad.state = bad.state.narrow(3, 0, 5);
  EXPECT_ERROR(recurrence(bad),
               "recurrence: state: expected shape [2, 2, 8, 6], found [2, 2, 8, 5]");
}

}  // namespace
}  // namespace hypenet
