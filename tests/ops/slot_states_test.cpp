// States by slot: taken and put back, with padding among the rows.
#include "ops/slot_states.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

Tensor slots_of(const std::vector<int32_t>& slots) { return torch::tensor(slots, torch::kInt32); }

TEST(SlotStates, rows_take_and_put_those_of_their_slots) {
  const Tensor start = torch::arange(24).view({4, 2, 3}), states = start.clone();
  const Tensor slots = slots_of({3, -1, 0, -1});
  const Tensor rows = take_states(states, slots);
  EXPECT_TRUE(torch::equal(rows[0], start[3]));
  EXPECT_TRUE(torch::equal(rows[2], start[0]));
  put_states(states, slots, rows + 100);
  EXPECT_TRUE(torch::equal(states[3], start[3] + 100));
  EXPECT_TRUE(torch::equal(states[0], start[0] + 100));
  EXPECT_TRUE(torch::equal(states.narrow(0, 1, 2), start.narrow(0, 1, 2)));
}

TEST(SlotStates, padding_changes_nothing) {
  const Tensor start = torch::arange(8).view({4, 2});
  for (const std::vector<int32_t>& slots : {std::vector<int32_t>{-1, -1}, {-1, 2}, {2, -1}}) {
    const Tensor states = start.clone();
    put_states(states, slots_of(slots), take_states(states, slots_of(slots)) + 100);
    const bool has_row = slots[0] == 2 || slots[1] == 2;
    for (int64_t slot = 0; slot < 4; ++slot) {
      const Tensor expected = has_row && slot == 2 ? start[slot] + 100 : start[slot];
      EXPECT_TRUE(torch::equal(states[slot], expected)) << slot;
    }
  }
}

TEST(StepRows, rows_of_a_slot_follow_each_other_and_padding_is_zero) {
  const Tensor states = torch::arange(4).view({4, 1}).to(torch::kFloat32);
  const Tensor x = torch::tensor({10.0F, 20.0F, 30.0F, 40.0F}).view({4, 1});
  const auto add = [](const std::vector<Tensor>& inputs, const std::vector<Tensor>& own) {
    const Tensor sum = own[0] + inputs[0];
    return SteppedRows{sum, {sum}};
  };
  const Tensor y = step_rows(slots_of({2, -1, 2, 0}), {x}, {states}, add);
  EXPECT_TRUE(torch::equal(y.flatten(), torch::tensor({12.0F, 0.0F, 42.0F, 40.0F})));
  EXPECT_TRUE(torch::equal(states.flatten(), torch::tensor({40.0F, 1.0F, 42.0F, 3.0F})));
}

}  // namespace
}  // namespace hypenet
