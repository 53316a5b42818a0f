// The likeliest tokens on every device against a sort in float64.
#include "ops/top_logprobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

constexpr int64_t kMost = kernels::kMostTop;

class TopLogprobsTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(17);
  }

  /// A slot a row, greedy, that asks for so many.
  SamplingState state(const std::vector<int32_t>& asked, int64_t V) const {
    SamplingState state = make_sampling_state(std::ssize(asked), V, 0, GetParam());
    for (size_t slot = 0; slot < asked.size(); ++slot) {
      set_settings(state, static_cast<int64_t>(slot), {.top_logprobs = asked[slot]});
    }
    return state;
  }

  Tensor first_slots(int64_t rows) const {
    return torch::arange(rows, torch::kInt32).to(GetParam());
  }

  /// Compares each row, which has the slot of its number, with a stable sort.
  void compare(const Tensor& logits, const std::vector<int32_t>& asked) const {
    const int64_t N = logits.size(0), V = logits.size(1);
    SamplingState slots = state(asked, V);
    const Tensor there = logits.to(GetParam());
    const SampledTokens tokens = sample_tokens(there, first_slots(N), slots);
    const TopLogprobs top = top_logprobs(there, first_slots(N), slots, tokens);
    const Tensor ids = top.ids.cpu(), logprobs = top.logprobs.cpu();
    for (int64_t row = 0; row < N; ++row) {
      const float* const x = logits.const_data_ptr<float>() + row * V;
      std::vector<int32_t> order(V);
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return x[a] > x[b]; });
      double sum = 0;
      for (int64_t v = 0; v < V; ++v) sum += std::exp(static_cast<double>(x[v]) - x[order[0]]);
      for (int64_t i = 0; i < kMost; ++i) {
        const bool is_told = i < asked[row] && i < V;
        EXPECT_EQ(ids[row][i].item<int>(), is_told ? order[i] : -1) << V << " " << row << " " << i;
        const double expected =
            is_told ? static_cast<double>(x[order[i]]) - x[order[0]] - std::log(sum) : 0;
        const float found = logprobs[row][i].item<float>();
        EXPECT_TRUE(std::isinf(expected) ? expected == found : std::abs(found - expected) < 2e-5)
            << expected << " " << found;
      }
      if (asked[row] == 0) continue;
      EXPECT_EQ(ids[row][0].item<int>(), tokens.ids[row].item<int>());
      EXPECT_EQ(logprobs[row][0].item<float>(), tokens.logprobs[row].item<float>());
    }
  }
};

TEST_P(TopLogprobsTest, are_those_of_a_stable_sort) {
  const NanFilledMemory nan_filled;
  for (const int64_t V : {1, 7, 20, 33, 1000, 1025, 40000, 151936}) {
    compare(torch::randn({5, V}) * 3, {20, 1, 0, 5, 20});
  }
}

TEST_P(TopLogprobsTest, of_equals_are_the_first_ids) {
  // Halves; all equal; ascending, so that each takes the place of those before; and what no softmax
  // has any of.
  Tensor logits = (torch::randn({4, 5000}) * 4).round().div(2);
  logits[1].fill_(0.25), logits[2] = torch::arange(5000) / 100;
  logits[3].fill_(-std::numeric_limits<float>::infinity()), logits[3][4000] = 2;
  compare(logits, {20, 20, 20, 20});
}

TEST_P(TopLogprobsTest, one_thread_may_have_them_all) {
  // Every 1024th, which is how a GPU's threads share a row.
  Tensor logits = torch::randn({1, 30000});
  for (int64_t v = 5; v < 30000; v += 1024) logits[0][v] = 10 + static_cast<float>(v % 7);
  compare(logits, {20});
}

TEST_P(TopLogprobsTest, are_of_raw_logits_and_the_same_bits_as_the_choice) {
  const Tensor logits = torch::randn({1, 3000}).to(GetParam());
  SamplingState slots = state({20}, 3000);
  const Tensor before =
      top_logprobs(logits, first_slots(1), slots, sample_tokens(logits, first_slots(1), slots))
          .ids.cpu();
  // The likeliest is masked: the second is chosen.
  Tensor words = torch::full({1, 94}, -1, torch::kInt32);
  const auto likeliest = before[0][0].item<int>();
  words[0][likeliest / 32] = static_cast<int32_t>(~(1U << (likeliest % 32)));
  const SampledTokens chosen =
      sample_tokens(logits, first_slots(1), slots,
                    {words.to(GetParam()), torch::zeros({1}, torch::kInt32).to(GetParam())});
  const TopLogprobs top = top_logprobs(logits, first_slots(1), slots, chosen);
  EXPECT_TRUE(torch::equal(top.ids.cpu(), before));
  EXPECT_EQ(chosen.ids[0].item<int>(), before[0][1].item<int>());
  EXPECT_EQ(chosen.logprobs[0].item<float>(), top.logprobs[0][1].item<float>());
}

TEST_P(TopLogprobsTest, padding_and_rows_that_chose_nothing_have_none) {
  Tensor logits = torch::randn({3, 50});
  logits[1][3] = std::nanf("");
  SamplingState slots = state({5, 5, 5}, 50);
  const Tensor there = logits.to(GetParam());
  const Tensor rows = torch::tensor({-1, 1, 2}, torch::kInt32).to(GetParam());
  const TopLogprobs top = top_logprobs(there, rows, slots, sample_tokens(there, rows, slots));
  for (const int row : {0, 1}) EXPECT_EQ(top.ids[row].max().item<int>(), -1);
  EXPECT_GE(top.ids[2][4].item<int>(), 0);
}

INSTANTIATE_TEST_SUITE_P(devices, TopLogprobsTest, testing::Values(torch::kCPU, torch::kCUDA),
                         [](const auto& test) {
                           return test.param == torch::kCUDA ? "cuda" : "cpu";
                         });

TEST(TopLogprobsErrors, name_what_was_expected_and_found) {
  SamplingState state = make_sampling_state(2, 40, 0, torch::kCPU);
  const Tensor slots = torch::zeros({2}, torch::kInt32), logits = torch::zeros({2, 40});
  const SampledTokens tokens = sample_tokens(logits, torch::arange(2, torch::kInt32), state);
  EXPECT_ERROR(top_logprobs(logits, slots.slice(0, 0, 1), state, tokens),
               "top_logprobs: slots: expected 2 contiguous Int on cpu, found [1]");
}

}  // namespace
}  // namespace hypenet
