// Which sets are tried, which of them is best, and the file that keeps them.
#include "halo/pilots.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "halo/select.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

LayerScores scores_for_pilots() {
  LayerScores scores;
  scores.columns = {"recall/exact", "next_token/accuracy", "text/kl"};
  scores.original = {1, 0.5, 0};
  // halo: 4, 5; recall-drop: 1, 4; kl: 0, 1; spread by kl: 1, 5; uniform: 2, 5.
  scores.layers = {{0.9, 0.40, 0.8}, {0.3, 0.10, 0.9}, {1.0, 0.40, 0.1},
                   {1.0, 0.40, 0.2}, {0.2, 0.45, 0.3}, {0.6, 0.50, 0.7}};
  return scores;
}

TEST(Pilots, candidates_are_the_picks_of_rules_with_evidence_and_a_spread) {
  const auto candidates = pilot_candidates(scores_for_pilots(), 2, 8);
  ASSERT_EQ(candidates.size(), 5U);
  EXPECT_EQ(candidates[0].rules, "kl");
  EXPECT_THAT(candidates[0].layers, ElementsAre(0, 1));
  EXPECT_EQ(candidates[1].rules, "halo");
  EXPECT_THAT(candidates[1].layers, ElementsAre(4, 5));
  EXPECT_EQ(candidates[2].rules, "recall-drop");
  EXPECT_THAT(candidates[2].layers, ElementsAre(1, 4));
  EXPECT_EQ(candidates[3].rules, "uniform");
  EXPECT_THAT(candidates[3].layers, ElementsAre(2, 5));
  EXPECT_EQ(candidates[4].rules, "spread");
  EXPECT_THAT(candidates[4].layers, ElementsAre(1, 5));
  EXPECT_EQ(pilot_candidates(scores_for_pilots(), 2, 3).size(), 3U);
}

TEST(Pilots, equal_sets_are_one_candidate) {
  LayerScores scores;
  scores.columns = {"text/kl"};
  scores.original = {0};
  scores.layers = {{0.1}, {0.9}, {0.2}, {0.8}};
  const auto candidates = pilot_candidates(scores, 2, 8);
  ASSERT_EQ(candidates.size(), 1U);
  EXPECT_EQ(candidates[0].rules, "kl+uniform+spread");
  EXPECT_THAT(candidates[0].layers, ElementsAre(1, 3));
}

TEST(Pilots, recall_ranks_them_and_kl_tells_apart_those_within_the_error_of_the_difference) {
  const auto ranked = ranked_pilots({{"a", {0}, 0.20, 0.05, 0.10},
                                     {"b", {1}, 0.93, 0.03, 0.30},
                                     {"c", {2}, 0.89, 0.03, 0.29},
                                     {"d", {3}, 0.68, 0.05, 0.28}});
  std::vector<std::string> order;
  order.reserve(ranked.size());
  for (const PilotResult& pilot : ranked) order.push_back(pilot.rules);
  EXPECT_THAT(order, ElementsAre("c", "b", "d", "a"));
}

TEST(Pilots, the_rule_takes_the_best_one_from_the_file_beside_the_scores) {
  const TemporaryFolder folder;
  write_scores(folder / "scores.csv", scores_for_pilots());
  write_pilots(folder / "pilots.csv",
               {{"kl", {0, 1}, 0.25, 0.05, 0.4}, {"halo+lazy", {4, 5}, 1.0 / 3, 0.01, 0.5}});
  const LayerScores scores = read_scores(folder / "scores.csv");
  ASSERT_EQ(scores.pilots.size(), 2U);
  EXPECT_EQ(scores.pilots[1].rules, "halo+lazy");
  EXPECT_EQ(scores.pilots[1].recall, 1.0 / 3);
  EXPECT_THAT(select_layers(scores, SelectionRule::kPilot, 0), ElementsAre(4, 5));
  EXPECT_THAT(layer_importances(scores, SelectionRule::kPilot, 0), ElementsAre(0, 0, 0, 0, 1, 1));
}

TEST(Pilots, bad_files_name_file_and_line) {
  const TemporaryFolder folder;
  const auto path = folder / "pilots.csv";
  write_file(path, "layers\n");
  EXPECT_ERROR(read_pilots(path), "pilots.csv:1: expected the header rules,layers");
  write_file(path, "rules,layers,recall,recall_error,kl\nkl,0 1,1,0\n");
  EXPECT_ERROR(read_pilots(path), "pilots.csv:2: expected 5 columns, found 4");
  write_file(path, "rules,layers,recall,recall_error,kl\nkl,0 1.5,1,0,1\n");
  EXPECT_ERROR(read_pilots(path), "pilots.csv:2: layers: expected numbers of layers");
}

}  // namespace
}  // namespace hypenet
