// RWKV-7's recurrence: every form is the definition, token by token in float64, and comes out as
// computed elsewhere (tests/data/mixers).
#include "ops/dplr.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <functional>

#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/mixer_case.h"

namespace hypenet {
namespace {

using testing_support::expect_close;
using testing_support::expect_gradients_of_differences;
using testing_support::MixerCase;
using DplrForm = std::function<RecurrenceOutput(const DplrRecurrence&)>;

/// As it is defined: the transition is a matrix.
RecurrenceOutput by_definition(const DplrRecurrence& in) {
  const int64_t B = in.r.size(0), T = in.r.size(1), H = in.r.size(2), d = in.r.size(3);
  Tensor state =
      in.state.defined() ? in.state : torch::zeros({B, H, d, in.v.size(3)}, in.r.options());
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < T; ++t) {
    const auto row = [t](const Tensor& x) { return x.select(1, t).unsqueeze(-2); };
    const Tensor kept = torch::diag_embed((-in.decay.select(1, t)).exp());
    const Tensor transition = kept + row(in.b).transpose(-1, -2) * row(in.a);
    state = torch::matmul(transition, state) + row(in.k).transpose(-1, -2) * row(in.v);
    outputs.push_back(torch::matmul(row(in.r), state).squeeze(-2));
  }
  return {torch::stack(outputs, 1), state};
}

/// All tokens at once: a path from j to i is a product of transitions; Y of all from one system.
RecurrenceOutput quadratic(const DplrRecurrence& in) {
  const auto by_head = [](const Tensor& x) { return x.transpose(1, 2); };
  const Tensor r = by_head(in.r), k = by_head(in.k), v = by_head(in.v), a = by_head(in.a);
  const Tensor b = by_head(in.b), decay = by_head(in.decay), G = -decay.cumsum(2);
  const auto scores = [&](const Tensor& x, const Tensor& own, const Tensor& y, int64_t diagonal) {
    const Tensor lag = (own.unsqueeze(3) - G.unsqueeze(2)).clamp_max(0);  // [B, H, T, T, d]
    return (x.unsqueeze(3) * y.unsqueeze(2) * lag.exp()).sum(-1).tril(diagonal);
  };
  const Tensor before = G + decay, last = G.narrow(2, G.size(2) - 1, 1);
  const Tensor state =
      in.state.defined() ? in.state
                         : torch::zeros({r.size(0), r.size(1), r.size(3), v.size(3)}, r.options());
  const Tensor identity = torch::eye(r.size(2), r.options());
  const Tensor read = torch::matmul(
      torch::linalg_inv(identity - scores(a, before, b, -1)),
      torch::matmul(scores(a, before, k, -1), v) + torch::matmul(a * before.exp(), state));
  const Tensor output = torch::matmul(scores(r, G, k, 0), v) +
                        torch::matmul(scores(r, G, b, 0), read) + torch::matmul(r * G.exp(), state);
  const Tensor fade = (last - G).exp();
  return {by_head(output), last.exp().transpose(2, 3) * state +
                               torch::matmul((k * fade).transpose(2, 3), v) +
                               torch::matmul((b * fade).transpose(2, 3), read)};
}

std::vector<Tensor*> tensors_of(DplrRecurrence& in) {
  std::vector<Tensor*> all;
  for (Tensor* x : {&in.r, &in.k, &in.a, &in.b, &in.v, &in.decay, &in.state}) {
    if (x->defined()) all.push_back(x);
  }
  return all;
}

/// Two heads of 8 and 6 numbers, decays up to RWKV-7's largest.
DplrRecurrence make_dplr(int64_t T, bool has_state, int64_t B = 2) {
  torch::manual_seed(T);
  const auto wide = torch::TensorOptions(torch::kFloat64);
  const auto drawn = [&] { return torch::randn({B, T, 2, 8}, wide); };
  const Tensor keys = drawn(), kappa = keys / keys.norm(2, -1, true);
  DplrRecurrence in{.r = drawn(),
                    .k = drawn(),
                    .a = -kappa,
                    .b = kappa * torch::rand({B, T, 2, 8}, wide),
                    .v = torch::randn({B, T, 2, 6}, wide),
                    .decay = 0.6065 * torch::rand({B, T, 2, 8}, wide)};
  in.decay.select(-1, 1).fill_(0.6065);
  if (has_state) in.state = torch::randn({B, 2, 8, 6}, wide);
  for (Tensor* x : tensors_of(in)) x->requires_grad_();
  return in;
}

Tensor loss_of(const RecurrenceOutput& out) {
  torch::manual_seed(7);
  const auto weighed = [](const Tensor& x) {
    return (x * torch::randn(x.sizes(), torch::kFloat64)).sum();
  };
  return weighed(out.output) + weighed(out.state);
}

std::vector<Tensor> results(const DplrForm& form, DplrRecurrence in) {
  const RecurrenceOutput out = form(in);
  std::vector<Tensor> leaves;
  for (const Tensor* x : tensors_of(in)) leaves.push_back(*x);
  std::vector<Tensor> all = torch::autograd::grad({loss_of(out)}, leaves);
  all.insert(all.begin(), {out.output.detach(), out.state.detach()});
  return all;
}

DplrForm in_chunks_of(int64_t chunk) {
  return [chunk](DplrRecurrence in) {
    in.chunk = chunk;
    return dplr_chunked(in);
  };
}

TEST(Dplr, all_forms_are_the_definition) {
  for (const int64_t T : {1, 15, 16, 17, 63, 64, 65, 130}) {
    for (const bool has_state : {false, true}) {
      SCOPED_TRACE(c10::str("T ", T, has_state ? " state" : ""));
      const DplrRecurrence in = make_dplr(T, has_state);
      const auto expected = results(by_definition, in);
      expect_close(results(in_chunks_of(16), in), expected, 1e-10);
      expect_close(results(in_chunks_of(64), in), expected, 1e-10);
      expect_close(results(quadratic, in), expected, 1e-10);
      expect_close(results(dplr_recurrence, in), expected, 1e-10);
      const RecurrenceOutput decoded = dplr_recurrent(in);
      expect_close({decoded.output, decoded.state}, {expected[0], expected[1]}, 1e-10);
    }
  }
}

TEST(Dplr, gradients_are_those_of_differences) {
  DplrRecurrence in = make_dplr(19, true);
  const auto found = results(dplr_chunked, in);
  const std::vector<Tensor> gradients(found.begin() + 2, found.end());
  expect_gradients_of_differences(
      tensors_of(in), gradients, [&] { return loss_of(dplr_chunked(in)); }, 1e-5);
}

TEST(Dplr, steps_change_the_states_of_their_slots) {
  const torch::NoGradGuard no_grad;
  DplrRecurrence rows = make_dplr(1, true, 4);
  rows.state = rows.state.detach().clone();
  const Tensor start = rows.state.clone();
  const std::vector<int32_t> slots = {2, -1, 0, 2};
  const Tensor found = dplr_step(rows, torch::tensor(slots, torch::kInt32));
  const Tensor states = start.clone();
  for (int64_t n = 0; n < 4; ++n) {
    if (slots[n] < 0) {
      EXPECT_EQ(found[n].abs().max().item<double>(), 0);
      continue;
    }
    DplrRecurrence row = rows;
    for (Tensor* x : tensors_of(row)) *x = x->narrow(0, n, 1);
    row.state = states.narrow(0, slots[n], 1);
    const RecurrenceOutput out = by_definition(row);
    expect_close({found.narrow(0, n, 1)}, {out.output}, 1e-12);
    states[slots[n]] = out.state[0];
  }
  expect_close({rows.state}, {states}, 1e-12);
}

TEST(Dplr, comes_out_as_computed_elsewhere) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
    for (const char* name : {"op0", "op1", "op2"}) {
      SCOPED_TRACE(c10::str(name, " ", type));
      MixerCase x("rwkv7", name, type);
      DplrRecurrence in{.r = x.leaf("r"),
                        .k = x.leaf("k"),
                        .a = x.leaf("a"),
                        .b = x.leaf("b"),
                        .v = x.leaf("v"),
                        .decay = -x.leaf("log_w")};
      in.state = x.leaf("state_in");
      const RecurrenceOutput out = dplr_chunked(in);
      x.expect({{"o", out.output}, {"state_out", out.state}}, tolerance);
      if (!in.state.defined()) continue;
      in.state = Tensor();
      x.expect({{"zero.o", dplr_chunked(in).output}}, tolerance);
    }
  }
}

TEST(Dplr, names_tensor_expected_and_found) {
  DplrRecurrence bad = make_dplr(5, true);
  bad.decay = bad.decay.narrow(3, 0, 6);
  EXPECT_ERROR(dplr_recurrence(bad),
               "dplr: decay: expected shape [2, 5, 2, 8], found [2, 5, 2, 6]");
  bad = make_dplr(5, true);
  bad.state = bad.state.narrow(3, 0, 5);
  EXPECT_ERROR(dplr_recurrence(bad),
               "dplr: state: expected shape [2, 2, 8, 6], found [2, 2, 8, 5]");
}

}  // namespace
}  // namespace hypenet
