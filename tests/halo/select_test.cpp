// Layer selection: the published choices from the published scores, hand-made scores, and files
// that are wrong.
#include "halo/select.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int64_t> published_selection(const std::string& name) {
  const auto path = std::filesystem::path(HYPENET_TEST_DATA) / "layer_sweep" / name;
  return select_layers(read_scores(path), SelectionRule::kHalo, 0);
}

/// Layers given as pairs of recall and reasoning.
LayerScores make_scores(const std::vector<std::pair<double, double>>& layers) {
  LayerScores scores;
  scores.columns = {"recall/256", "next_token/accuracy"};
  scores.original = {0.75, 0.5};
  for (const auto& [recall, reasoning] : layers) scores.layers.push_back({recall, reasoning});
  return scores;
}

std::string error_of(const std::string& csv) {
  const TemporaryFolder folder;
  write_file(folder / "scores.csv", csv);
  try {
    read_scores(folder / "scores.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

constexpr char kHeader[] = "replaced_layer,recall/256,next_token/accuracy\n";

TEST(SelectTest, halo_rule_gives_the_published_layers_of_2b) {
  EXPECT_THAT(published_selection("layer_sweep_2b.csv"), ElementsAre(2, 3, 6, 8, 9, 21, 25));
}

TEST(SelectTest, halo_rule_gives_the_published_layers_of_9b) {
  EXPECT_THAT(published_selection("layer_sweep_8b.csv"),
              ElementsAre(1, 2, 4, 6, 7, 10, 24, 33, 34));
}

TEST(SelectTest, halo_rule_gives_34_where_published_5b_has_31) {
  EXPECT_THAT(published_selection("layer_sweep_4b.csv"),
              ElementsAre(0, 1, 7, 14, 15, 22, 24, 33, 34));
}

TEST(SelectTest, recall_and_reasoning_are_means_of_their_columns) {
  LayerScores scores;
  scores.columns = {
      "arc_easy/acc", "arc_easy/acc_norm", "arc_challenge/acc_norm", "hellaswag/acc_norm",
      "fda/contains", "swde/contains",     "ruler_qa_squad/4096",    "squad_completion/contains"};
  const std::vector<double> row = {100, 1, 2, 3, 10, 20, 30, 40};
  EXPECT_DOUBLE_EQ(scores.recall(row), 25);
  EXPECT_DOUBLE_EQ(scores.reasoning(row), 2);
}

TEST(SelectTest, held_out_text_counts_only_where_no_task_of_its_kind_was_run) {
  LayerScores scores;
  scores.columns = {"fda/contains",        "arc_easy/acc_norm", "recall/exact",
                    "next_token/accuracy", "next_token/ll",     "recall/ll"};
  const std::vector<double> row = {1, 2, 10, 20, -3, -4};
  EXPECT_DOUBLE_EQ(scores.recall(row), 1);
  EXPECT_DOUBLE_EQ(scores.reasoning(row), 2);
  EXPECT_DOUBLE_EQ(scores.mean(row, Evidence::kReasoningLikelihood), -3);
  EXPECT_DOUBLE_EQ(scores.mean(row, Evidence::kRecallLikelihood), -4);
  scores.columns[1] = "arc_easy/acc";
  EXPECT_DOUBLE_EQ(scores.reasoning(row), 20);
}

TEST(SelectTest, halo_importance_is_the_ratio_of_the_losses_and_at_most_50) {
  const LayerScores scores = make_scores({{1.0, 0.4}, {0.5, 0.25}, {0.75, 0.5}, {0.0, 0.495}});
  const auto importances = layer_importances(scores, SelectionRule::kHalo, 0);
  EXPECT_DOUBLE_EQ(importances[0], 0);
  EXPECT_NEAR(importances[1], 0.5 / 0.25, 1e-8);
  EXPECT_DOUBLE_EQ(importances[2], 50);  // no loss of reasoning
  EXPECT_DOUBLE_EQ(importances[3], 50);  // 1 / 0.005, cut
}

TEST(SelectTest, recall_drop_is_measured_from_the_original) {
  const auto importances =
      layer_importances(make_scores({{1.0, 0.4}, {0.5, 0.1}}), SelectionRule::kRecallDrop, 0);
  EXPECT_DOUBLE_EQ(importances[0], -0.25);
  EXPECT_DOUBLE_EQ(importances[1], 0.25);
}

TEST(SelectTest, uniform_spreads_layers_evenly) {
  const LayerScores scores = make_scores(std::vector<std::pair<double, double>>(8, {0.5, 0.5}));
  EXPECT_THAT(select_layers(scores, SelectionRule::kUniform, 0), ElementsAre(3, 7));
  EXPECT_THAT(select_layers(scores, SelectionRule::kUniform, 3), ElementsAre(1, 4, 7));
  EXPECT_EQ(select_layers(scores, SelectionRule::kUniform, 8).size(), 8U);
}

TEST(SelectTest, equal_importances_go_to_the_lower_layer) {
  const LayerScores scores = make_scores({{0.5, 0.1}, {0.25, 0.1}, {0.25, 0.1}, {0.25, 0.1}});
  EXPECT_THAT(select_layers(scores, SelectionRule::kRecallDrop, 2), ElementsAre(1, 2));
}

TEST(SelectTest, layers_at_the_cap_are_told_apart_by_the_recall_they_carry) {
  // All three importances are 50: the reasoning of each is the best there is.
  const LayerScores scores = make_scores({{0.9, 0.5}, {0.1, 0.5}, {0.8, 0.5}, {1.0, 0.5}});
  EXPECT_THAT(select_layers(scores, SelectionRule::kHalo, 1), ElementsAre(1));
  EXPECT_THAT(select_layers(scores, SelectionRule::kHalo, 2), ElementsAre(1, 2));
}

TEST(SelectTest, keep_outside_the_layers_is_an_error) {
  const LayerScores scores = make_scores({{0.5, 0.1}, {0.25, 0.1}});
  for (const int64_t keep : {-1, 3}) {
    try {
      select_layers(scores, SelectionRule::kHalo, keep);
      FAIL() << "keep " << keep << " was accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(concat("to 2, found ", keep)));
    }
  }
}

TEST(SelectTest, written_scores_read_back_the_same) {
  const TemporaryFolder folder;
  const LayerScores scores = make_scores({{1.0 / 3, 0.1}, {0.0, 1e-7}});
  write_scores(folder / "scores.csv", scores);
  const LayerScores again = read_scores(folder / "scores.csv");
  EXPECT_EQ(again.columns, scores.columns);
  EXPECT_EQ(again.original, scores.original);
  EXPECT_EQ(again.layers, scores.layers);
}

TEST(SelectTest, windows_line_ends_are_read) {
  EXPECT_EQ(error_of("replaced_layer,recall/256,next_token/accuracy\r\noriginal,1,1\r\n0,1,1\r\n"),
            "no error");
}

TEST(SelectTest, bad_files_name_file_and_line) {
  const std::string header = kHeader;
  EXPECT_THAT(error_of(""), HasSubstr("scores.csv:1: expected a header line"));
  EXPECT_THAT(error_of("layer,recall/256\n"), HasSubstr("scores.csv:1: expected the first column"));
  EXPECT_THAT(error_of("replaced_layer\noriginal\n0\n"),
              HasSubstr("scores.csv:1: expected a column of scores, found none"));
  EXPECT_THAT(error_of(header + "0,1,1\n"),
              HasSubstr("scores.csv:2: expected the row of \"original\", found \"0\""));
  EXPECT_THAT(error_of(header), HasSubstr("scores.csv:2: expected the row of \"original\""));
  EXPECT_THAT(error_of(header + "original,1,1\n"), HasSubstr("scores.csv:3: expected the row of"));
  EXPECT_THAT(error_of(header + "original,1,1\n0,1,1\n2,1,1\n"),
              HasSubstr("scores.csv:4: expected the row of layer 1, found \"2\""));
  EXPECT_THAT(error_of(header + "original,1,1\n0,1,abc\n"),
              HasSubstr("scores.csv:3: next_token/accuracy: expected a number, found \"abc\""));
  EXPECT_THAT(error_of(header + "original,1,1\n0,1,nan\n"), HasSubstr("expected a number"));
  EXPECT_THAT(error_of(header + "original,1,1\n0,1\n"),
              HasSubstr("scores.csv:3: expected 3 columns, found 2"));
}

TEST(SelectTest, unknown_rule_names_the_choices) {
  EXPECT_ERROR(
      parse_selection_rule("best"),
      "selection rule: expected halo, recall-drop, uniform, likelihood, kl, lazy or pilot, "
      "found \"best\"");
}

/// Five layers with a column of each kind.
LayerScores scores_of_all_kinds() {
  LayerScores scores;
  scores.columns = {"fda/contains", "arc_easy/acc_norm", "fda/ll",   "ruler_qa_squad/4096/ll",
                    "arc_easy/ll",  "text/kl",           "lazy/mass"};
  scores.original = {0.8, 0.7, -1, -3, -2, 0, 0.5};
  scores.layers = {{0.8, 0.7, -1.0, -3.0, -2.0, 0.30, 0.9},
                   {0.1, 0.6, -1.5, -3.5, -2.5, 0.10, 0.2},
                   {0.8, 0.7, -6.0, -4.0, -2.1, 0.20, 0.8},
                   {0.7, 0.2, -1.0, -3.0, -9.0, 0.90, 0.7},
                   {0.5, 0.1, -2.0, -4.0, -4.0, 0.05, 0.1}};
  return scores;
}

TEST(SelectTest, likelihood_is_halos_ratio_of_the_mean_log_likelihoods) {
  const auto importances = layer_importances(scores_of_all_kinds(), SelectionRule::kLikelihood, 2);
  EXPECT_NEAR(importances[1], 0.5 / 0.5, 1e-8);
  EXPECT_NEAR(importances[2], 3 / 0.1, 1e-6);
  EXPECT_NEAR(importances[3], 0, 1e-8);
  EXPECT_NEAR(importances[4], 1 / 2.0, 1e-8);
  EXPECT_THAT(select_layers(scores_of_all_kinds(), SelectionRule::kLikelihood, 2),
              ElementsAre(1, 2));
}

TEST(SelectTest, kl_keeps_the_layers_whose_loss_changes_the_model_most) {
  EXPECT_THAT(select_layers(scores_of_all_kinds(), SelectionRule::kKl, 2), ElementsAre(0, 3));
  EXPECT_THAT(layer_importances(scores_of_all_kinds(), SelectionRule::kKl, 2),
              ElementsAre(0.30, 0.10, 0.20, 0.90, 0.05));
}

TEST(SelectTest, lazy_keeps_the_layers_that_look_elsewhere) {
  EXPECT_THAT(select_layers(scores_of_all_kinds(), SelectionRule::kLazy, 2), ElementsAre(1, 4));
}

TEST(SelectTest, log_likelihoods_are_no_accuracies) {
  const LayerScores scores = scores_of_all_kinds();
  EXPECT_DOUBLE_EQ(scores.recall(scores.layers[1]), 0.1);
  EXPECT_DOUBLE_EQ(scores.reasoning(scores.layers[1]), 0.6);
  EXPECT_DOUBLE_EQ(scores.mean(scores.layers[1], Evidence::kRecallLikelihood), -2.5);
}

TEST(SelectTest, a_rule_without_its_evidence_says_what_it_reads) {
  const LayerScores scores = make_scores({{0.5, 0.1}, {0.25, 0.1}});
  EXPECT_ERROR(
      select_layers(scores, SelectionRule::kKl, 1),
      "selection rule kl: the scores: expected the column text/kl (task text), found none");
  EXPECT_ERROR(select_layers(scores, SelectionRule::kPilot, 1), "expected pilots.csv");
  LayerScores none;
  none.layers.resize(8);
  EXPECT_ERROR(select_layers(none, SelectionRule::kHalo, 1), "expected a recall column");
  EXPECT_THAT(select_layers(none, SelectionRule::kUniform, 0), ElementsAre(3, 7));
  for (const RuleAbout& rule : selection_rules()) {
    EXPECT_EQ(has_evidence(scores_of_all_kinds(), rule.rule), rule.rule != SelectionRule::kPilot)
        << rule.name;
  }
}

TEST(SelectTest, spread_takes_no_neighbours_while_there_are_others) {
  EXPECT_THAT(spread_layers({1, 2, 4, 5, 0, 3}, 2), ElementsAre(1, 4));
  EXPECT_THAT(spread_layers({1, 2, 4, 6, 0, 3, 5}, 3), ElementsAre(1, 4, 6));
  EXPECT_THAT(spread_layers({2, 1, 0}, 3), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace hypenet
