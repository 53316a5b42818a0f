// Rows take what their slots hold, and put back what was chosen.
#include "ops/slot_rows.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

class SlotRows : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !has_gpu()) GTEST_SKIP() << "no CUDA device";
  }
  Tensor numbers(std::vector<int32_t> values) const {
    return torch::tensor(values, torch::kInt32).to(GetParam());
  }
};

TEST_P(SlotRows, take_what_the_slots_hold_and_zeros_for_padding) {
  const SlotTokens all{numbers({10, 11, 12, 13}), numbers({5, 6, 7, 8})};
  const RowTokens rows = take_rows(numbers({2, -1, 0}), all);
  EXPECT_TRUE(torch::equal(rows.ids, numbers({12, 0, 10})));
  EXPECT_TRUE(torch::equal(rows.positions, numbers({7, 0, 5})));
}

TEST_P(SlotRows, put_back_tokens_one_position_further_on) {
  const SlotTokens all{numbers({10, 11, 12, 13}), numbers({5, 6, 7, 8})};
  const Tensor packed = torch::full({2, 4}, -7, all.tokens.options());
  const Tensor logprobs = torch::tensor({-0.5F, 0.F, -2.F, -3.F}).to(GetParam());
  put_rows(numbers({2, -1, 0, 3}),
           {.ids = numbers({40, 9, -1, 44}), .logprobs = logprobs, .log_sums = {}}, all, packed);
  // Slot 0's logits were not finite: its id is told, and not asked of an embedding.
  EXPECT_TRUE(torch::equal(all.tokens, numbers({0, 11, 40, 44})));
  EXPECT_TRUE(torch::equal(all.positions, numbers({6, 6, 8, 9})));
  EXPECT_TRUE(torch::equal(packed[0], numbers({40, 9, -1, 44})));
  EXPECT_TRUE(torch::equal(packed[1].view(torch::kFloat32), logprobs));
}

INSTANTIATE_TEST_SUITE_P(devices, SlotRows, testing::Values(torch::kCPU, torch::kCUDA),
                         [](const auto& test) {
                           return test.param == torch::kCUDA ? "cuda" : "cpu";
                         });

TEST(SlotRowsErrors, name_what_was_expected_and_found) {
  const Tensor slots = torch::zeros({3}, torch::kInt32);
  const SlotTokens all{torch::zeros({4}, torch::kInt64), torch::zeros({4}, torch::kInt32)};
  EXPECT_ERROR(take_rows(slots, all), "slot_rows: tokens: expected 4 contiguous int32 on cpu");
}

}  // namespace
}  // namespace hypenet
