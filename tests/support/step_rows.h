// What tests of a mixer's step share: where they run, tokens against a definition, and rows that
// find their states.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "ops/form.h"
#include "tests/support/compare.h"
#include "tests/support/target.h"

namespace hypenet {

inline constexpr Target kStepTargets[] = {
    {"cpu_float64", torch::kCPU, torch::kFloat64, torch::kFloat64, 1e-12},
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 1e-2},
    {"cuda_bfloat16_float32_weight", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 1e-2}};

/// Three tokens of make(), one after the other on one state: outputs and states against
/// define(input, state), which is given the state in float64 and replaces it by the next one. A
/// kernel rounds nothing on its way to the state, as tensor code does: its states are right to
/// 1e-5.
template <class Make, class Step, class Define>
void expect_tokens_equal_definition(const Make& make, const Step& step, const Define& define,
                                    bool has_kernel, const Target& target) {
  torch::Tensor state, expected_state;
  for (int token = 0; token < 3; ++token) {
    auto input = make();
    if (token == 0) {
      state = input.state;
      expected_state = state.to(torch::kCPU, torch::kFloat64).clone();
    }
    input.state = state;
    EXPECT_EQ(form_of(input) == Form::kDevice, has_kernel);
    const torch::Tensor y = step(input);
    const torch::Tensor expected = define(input, expected_state);
    ASSERT_EQ(y.scalar_type(), target.type);
    EXPECT_LT(relative_rms(y, expected), target.tolerance);
    const double state_tolerance = has_kernel ? std::min(target.tolerance, 1e-5) : target.tolerance;
    EXPECT_LT(relative_rms(state, expected_state), state_tolerance);
  }
}

/// Row n of `input`, whose state [rows, ..] has one of each, gets slot rows + 2 - n; the middle row
/// is padding, and slots 0 to 2 hold NaN and are nobody's. Each row gives what row_of(input, n,
/// state) gives alone, padding gives zero, and no other state changes: the same bits for a kernel.
template <class Input, class Step, class RowOf>
void expect_rows_find_their_slots(Input input, const Step& step, const RowOf& row_of,
                                  bool has_kernel, double tolerance) {
  const int64_t rows = input.state.size(0), middle = rows / 2;
  torch::Tensor slots = (rows + 2 - torch::arange(rows)).to(torch::kInt32);
  slots[middle] = -1;
  const torch::Tensor nobodys = torch::full_like(input.state.narrow(0, 0, 1), NAN);
  input.state = torch::cat({nobodys, nobodys, nobodys, input.state});
  input.slots = slots.to(input.state.device());
  const torch::Tensor expected_state = input.state.clone();
  const torch::Tensor y = step(input);
  EXPECT_TRUE(torch::equal(y[middle], torch::zeros_like(y[middle])));
  for (int64_t n = 0; n < rows; ++n) {
    if (n == middle) continue;
    const torch::Tensor alone = step(row_of(input, n, expected_state))[0];
    if (has_kernel) {
      EXPECT_TRUE(torch::equal(alone, y[n])) << "row " << n;
    } else {
      EXPECT_LT(relative_rms(alone, y[n]), tolerance) << "row " << n;
    }
  }
  for (int64_t slot = 0; slot < rows + 3; ++slot) {
    const torch::Tensor found = input.state[slot].nan_to_num(7);
    const torch::Tensor expected = expected_state[slot].nan_to_num(7);
    if (has_kernel || slot < 3) {
      EXPECT_TRUE(torch::equal(found, expected)) << "slot " << slot;
    } else {
      EXPECT_LT(relative_rms(found, expected), tolerance) << "slot " << slot;
    }
  }
}

}  // namespace hypenet
