// Where prompts are cut.
#include "engine/grid.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/random.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using enum PromptMark::Kind;

constexpr Grid kGrid{.chunk = 2048, .least = 1024};

std::vector<int64_t> cuts(int64_t tokens, const std::vector<PromptMark>& marks,
                          const Grid& grid = kGrid) {
  return prefill_cuts(tokens, marks, grid);
}

TEST(Grid, without_marks_is_chunks) {
  EXPECT_THAT(cuts(2047, {}), IsEmpty());
  EXPECT_THAT(cuts(2048, {}), ElementsAre(2048));
  EXPECT_THAT(cuts(5000, {}), ElementsAre(2048, 4096));
}

TEST(Grid, cuts_at_turns_that_are_far_enough_from_the_last_cut) {
  EXPECT_THAT(cuts(5000, {{1023, kTurn}, {1024, kTurn}, {2047, kTurn}, {2048, kTurn}}),
              ElementsAre(1024, 2048, 4096));
  EXPECT_THAT(cuts(3000, {{2900, kTurn}}), ElementsAre(2048)) << "852 after the chunk";
  EXPECT_THAT(cuts(1500, {{1500, kTurn}}), ElementsAre(1500)) << "the prompt's end";
}

TEST(Grid, cuts_behind_the_system_message_and_at_marks_of_the_client_sooner) {
  EXPECT_THAT(cuts(1000, {{255, kSystemEnd}}), IsEmpty());
  EXPECT_THAT(cuts(1000, {{256, kSystemEnd}}), ElementsAre(256));
  EXPECT_THAT(cuts(1000, {{63, kClient}, {64, kClient}, {127, kClient}, {128, kClient}}),
              ElementsAre(64, 128));
  EXPECT_THAT(cuts(2000, {{300, kClient}, {1323, kTurn}}), ElementsAre(300)) << "1023 after it";
}

TEST(Grid, takes_the_kind_that_cuts_where_two_marks_meet) {
  EXPECT_THAT(cuts(1000, {{300, kTurn}, {300, kSystemEnd}}), ElementsAre(300));
  EXPECT_THAT(cuts(1000, {{300, kSystemEnd}, {300, kTurn}}), ElementsAre(300));
  EXPECT_THAT(cuts(1000, {{0, kClient}, {0, kTurn}}, {.chunk = 2000, .least = 0}), IsEmpty());
}

TEST(Grid, of_a_beginning_is_that_of_the_whole) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    const int64_t tokens = 1 + random.below(6000), beginning = 1 + random.below(tokens);
    const Grid grid{.chunk = 1 + random.below(3000), .least = random.below(2000)};
    std::vector<PromptMark> marks;
    for (int64_t i = random.below(12); i > 0; --i) {
      marks.push_back(
          {random.below(tokens + 1),
           std::array{kTurn, kSystemEnd, kClient}[static_cast<size_t>(random.below(3))]});
    }
    const auto whole = cuts(tokens, marks, grid);
    std::vector<int64_t> expected;
    std::ranges::copy_if(whole, std::back_inserter(expected),
                         [&](int64_t cut) { return cut <= beginning; });
    EXPECT_THAT(cuts(beginning, marks, grid), testing::ElementsAreArray(expected));
    int64_t last = 0;
    for (const int64_t cut : whole) {
      EXPECT_GT(cut, last);
      EXPECT_LE(cut - last, grid.chunk);
      last = cut;
    }
    EXPECT_LE(tokens - last, grid.chunk);
  }
}

TEST(Grid, refuses_marks_outside_the_prompt_and_too_many_of_a_client) {
  EXPECT_ERROR(check_marks(std::vector<PromptMark>{{11, kTurn}}, 10),
               "marks: expected positions from 0 to 10, found 11");
  EXPECT_ERROR(check_marks(std::vector<PromptMark>(17, {3, kClient}), 10),
               "expected at most 16 of the client, found 17");
  check_marks(std::vector<PromptMark>(17, {3, kTurn}), 10);
}

}  // namespace
}  // namespace hypenet
