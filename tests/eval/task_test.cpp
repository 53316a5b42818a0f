// Metrics of hand-made predictions, against values worked out by hand.
#include "eval/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {
using testing::DoubleNear;
using testing::ElementsAre;

std::vector<EvalAnswer> sums(const std::vector<double>& values) {
  std::vector<EvalAnswer> answers;
  answers.reserve(values.size());
  for (const double value : values) answers.push_back({.loglikelihood = value});
  return answers;
}

ItemScores generated(const Scoring& scoring, const std::string& text,
                     const std::vector<std::string>& references) {
  const std::vector<EvalAnswer> answers = {{.text = text}};
  return scoring.score({.references = references}, answers);
}

double contains(const std::string& text, const std::vector<std::string>& references) {
  return generated(Scoring::kContains, text, references).front();
}

TEST(ChoiceScores, acc_takes_the_largest_sum_and_acc_norm_the_largest_by_length) {
  const TaskItem item{.gold = 1, .lengths = {2, 10}};
  EXPECT_THAT(Scoring::kMultipleChoice.score(item, sums({-4, -10})), ElementsAre(0, 1));
  EXPECT_THAT(Scoring::kMultipleChoice.score(item, sums({-10, -4})), ElementsAre(1, 1));
}

TEST(ChoiceScores, the_first_of_equal_choices_is_the_prediction) {
  const std::vector<EvalAnswer> answers = sums({-3, -3, -3});
  TaskItem item{.gold = 0, .lengths = {3, 3, 3}};
  EXPECT_THAT(Scoring::kMultipleChoice.score(item, answers), ElementsAre(1, 1));
  EXPECT_THAT(Scoring::kChoiceOfContext.score(item, answers), ElementsAre(1));
  item.gold = 2;
  EXPECT_THAT(Scoring::kMultipleChoice.score(item, answers), ElementsAre(0, 0));
}

TEST(ContainsScores, letters_of_either_case_are_the_same) {
  EXPECT_EQ(contains(" the Ålesund pump.", {"åLESUND"}), 1);
  EXPECT_EQ(contains(" the Ålesund pump.", {"Alesund"}), 0);
}

TEST(ContainsScores, a_label_is_no_pattern) {
  EXPECT_EQ(contains("costs $5.00 (net)", {"$5.00 (NET)"}), 1);
  EXPECT_EQ(contains("costs $5x00", {"$5.00"}), 0);
  EXPECT_EQ(contains("a+b", {"a+b", "["}), 1);
}

TEST(ContainsScores, an_empty_generation_holds_nothing_but_an_empty_label) {
  EXPECT_EQ(contains("", {"x"}), 0);
  EXPECT_EQ(contains("", {""}), 1);
}

TEST(ContainsScores, white_space_of_a_raw_label_counts) {
  EXPECT_EQ(contains("Pump\n", {"Pump "}), 0);
  EXPECT_EQ(contains("Pump 7", {"Pump "}), 1);
}

TEST(ReferenceScores, all_is_the_share_of_references_found) {
  EXPECT_THAT(generated(Scoring::kAllReferences, "Apple, pear.", {"apple", "PEAR", "plum", "fig"}),
              ElementsAre(0.5));
  EXPECT_THAT(generated(Scoring::kAllReferences, "", {"apple"}), ElementsAre(0));
}

TEST(ReferenceScores, part_of_the_harness_is_a_share_and_of_ruler_any) {
  EXPECT_THAT(generated(Scoring::kPartOfReferences, "in France", {"France", "the france", "Paris"}),
              ElementsAre(DoubleNear(1.0 / 3, 1e-12), 1));
  EXPECT_THAT(generated(Scoring::kPartOfReferences, "nowhere", {"France"}), ElementsAre(0, 0));
}

TEST(ReferenceScores, control_characters_become_line_feeds) {
  EXPECT_THAT(generated(Scoring::kAllReferences, "a\tb", {"a\nb"}), ElementsAre(1));
  EXPECT_THAT(generated(Scoring::kAllReferences, "a\tb", {"a\tb"}), ElementsAre(0));
}

Task task_of(const Scoring& scoring, size_t items = 0) {
  return {.name = "t", .scoring = &scoring, .items = std::vector<TaskItem>(items)};
}

TEST(Summary, accuracy_is_a_mean_with_the_sample_s_error) {
  const std::vector<ItemScores> scores = {{1, 0}, {0, 0}, {1, 0}, {1, 1}};
  const auto metrics = summarize(task_of(Scoring::kMultipleChoice), scores);
  ASSERT_EQ(metrics.size(), 2);
  EXPECT_EQ(metrics[0].name, "acc");
  EXPECT_DOUBLE_EQ(metrics[0].value, 0.75);
  // s = sqrt((3 * 0.25^2 + 0.75^2) / 3) = 0.5.
  EXPECT_DOUBLE_EQ(metrics[0].error.value(), 0.25);
  EXPECT_EQ(metrics[1].name, "acc_norm");
  EXPECT_DOUBLE_EQ(metrics[1].value, 0.25);
}

TEST(Summary, one_item_has_no_error_and_none_is_refused) {
  const std::vector<ItemScores> one = {{1}};
  EXPECT_FALSE(summarize(task_of(Scoring::kChoiceOfContext), one)[0].error.has_value());
  EXPECT_ERROR(summarize(task_of(Scoring::kChoiceOfContext), {}),
               "t: expected items to score, found none");
}

TEST(Summary, what_is_generated_has_no_error) {
  const std::vector<ItemScores> scores = {{1, 1}, {0, 0}};
  for (const Scoring* scoring :
       {&Scoring::kContains, &Scoring::kAllReferences, &Scoring::kPartOfReferences}) {
    for (const Metric& metric : summarize(task_of(*scoring), scores)) {
      EXPECT_DOUBLE_EQ(metric.value, 0.5);
      EXPECT_FALSE(metric.error.has_value());
    }
  }
}

TEST(Summary, lambada_s_perplexity_is_of_a_target_word) {
  const std::vector<EvalAnswer> right = {{.loglikelihood = -1, .is_greedy = true}};
  const std::vector<EvalAnswer> wrong = {{.loglikelihood = -3}};
  const std::vector<ItemScores> scores = {Scoring::kLastWord.score({}, right),
                                          Scoring::kLastWord.score({}, wrong)};
  const auto metrics = summarize(task_of(Scoring::kLastWord), scores);
  EXPECT_DOUBLE_EQ(metrics[0].value, 0.5);
  EXPECT_EQ(metrics[1].name, "perplexity");
  EXPECT_DOUBLE_EQ(metrics[1].value, std::exp(2));
  EXPECT_DOUBLE_EQ(metrics[1].error.value(), std::exp(2));  // times s / sqrt(2) = 1
}

TEST(Summary, text_perplexities_are_by_words_and_bytes_of_all_pages) {
  Task task = task_of(Scoring::kTextPerplexity, 2);
  task.items[0].words = 3;
  task.items[0].bytes = 10;
  task.items[1].words = 7;
  task.items[1].bytes = 30;
  const std::vector<ItemScores> scores = {
      Scoring::kTextPerplexity.score(task.items[0], sums({-20})),
      Scoring::kTextPerplexity.score(task.items[1], sums({-30}))};
  const auto metrics = summarize(task, scores);
  EXPECT_DOUBLE_EQ(metrics[0].value, std::exp(5));
  EXPECT_DOUBLE_EQ(metrics[1].value, std::exp(1.25));
  EXPECT_DOUBLE_EQ(metrics[2].value, 1.25 / std::log(2));
  EXPECT_FALSE(metrics[0].error.has_value());
}

TEST(Summary, every_scoring_names_as_many_metrics_as_it_scores) {
  const TaskItem item{.gold = 0, .lengths = {1}, .references = {"a"}};
  const std::vector<EvalAnswer> answers = {{.text = "a"}};
  for (const Scoring* scoring :
       {&Scoring::kMultipleChoice, &Scoring::kChoiceOfContext, &Scoring::kLastWord,
        &Scoring::kTextPerplexity, &Scoring::kContains, &Scoring::kAllReferences,
        &Scoring::kPartOfReferences}) {
    EXPECT_EQ(scoring->metrics.size(), scoring->score(item, answers).size());
  }
}

}  // namespace
}  // namespace hypenet
