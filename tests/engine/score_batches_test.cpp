// Batches of rows to score: what stands together, and how much.
#include "engine/score_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace hypenet {
namespace {

using testing::ElementsAre;

/// Questions of `choices` rows each: a context of its own, and a token that tells rows apart.
std::vector<ScoredRow> questions(int32_t count, int32_t choices) {
  std::vector<ScoredRow> rows;
  for (int32_t choice = 0; choice < choices; ++choice) {
    for (int32_t i = 0; i < count; ++i) {
      ScoredRow row;
      row.ids.assign(static_cast<size_t>(10 + i), 100 + i);
      row.ids.push_back(choice);
      row.first_scored = 10 + i;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

TEST(ScoreBatchesTest, every_row_is_in_one_batch_within_the_budget) {
  const auto rows = questions(9, 4);
  std::multiset<size_t> seen;
  for (const auto& batch : score_batches(rows, 50)) {
    std::set<std::vector<int32_t>> beginnings;
    for (const size_t row : batch) {
      seen.insert(row);
      for (size_t n = 1; n <= rows[row].ids.size(); ++n) {
        beginnings.emplace(rows[row].ids.begin(), rows[row].ids.begin() + static_cast<long>(n));
      }
    }
    EXPECT_LE(beginnings.size(), 50U);
  }
  EXPECT_EQ(seen.size(), rows.size());
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), rows.size());
}

TEST(ScoreBatchesTest, choices_of_a_question_stand_together_and_long_ones_come_first) {
  const auto rows = questions(3, 2);  // rows 0 3, 1 4 and 2 5
  const auto batches = score_batches(rows, 30);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_THAT(batches[0], ElementsAre(2, 5, 1, 4));
  EXPECT_THAT(batches[1], ElementsAre(0, 3));
}

TEST(ScoreBatchesTest, a_question_above_the_budget_keeps_its_choices) {
  const auto batches = score_batches(questions(2, 3), 8);  // 11 and 12 tokens, 3 choices each
  EXPECT_THAT(batches, ElementsAre(ElementsAre(1, 3, 5), ElementsAre(0, 2, 4)));
}

TEST(ScoreBatchesTest, unlike_rows_above_the_budget_run_alone) {
  EXPECT_THAT(score_batches(questions(3, 1), 2),
              ElementsAre(ElementsAre(2), ElementsAre(1), ElementsAre(0)));
}

TEST(ScoreBatchesTest, many_rows_of_one_beginning_are_split) {
  std::vector<ScoredRow> rows;
  for (int32_t i = 0; i < 100; ++i) {
    ScoredRow& row = rows.emplace_back();
    row.ids.assign(50, 7);
    row.ids.push_back(i);
    row.first_scored = 50;
  }
  for (const auto& batch : score_batches(rows, 100)) EXPECT_LE(51 * batch.size(), 600U);
}

TEST(ScoreBatchesTest, many_short_rows_beside_a_long_one_stay_few) {
  std::vector<ScoredRow> rows = {{std::vector<int32_t>(100, 1), 1}};
  for (int32_t i = 0; i < 60; ++i) rows.push_back({{2 + i, 0}, 1});
  for (const auto& batch : score_batches(rows, 200)) {
    size_t longest = 0;
    for (const size_t row : batch) longest = std::max(longest, rows[row].ids.size());
    EXPECT_LE(longest * batch.size(), 1200U);
  }
}

}  // namespace
}  // namespace hypenet
