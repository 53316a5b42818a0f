// Results of hand-made answers: groups, table, files.
#include "eval/results.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "eval/mmlu.h"
#include "eval/ruler/ruler.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Two questions of two choices.
Task two_questions() {
  Task task{.name = "arc_easy", .version = 1};
  for (int64_t gold = 0; gold < 2; ++gold) {
    TaskItem item;
    item.id = concat("q", gold);
    for (const std::string choice : {" yes", " no"}) {
      EvalRequest request;
      request.context = "Question?";
      request.continuation = choice;
      item.requests.push_back(request);
    }
    item.gold = gold;
    item.lengths = {3, 2};
    task.items.push_back(item);
  }
  return task;
}

std::vector<EvalAnswer> answers() {
  std::vector<EvalAnswer> all(4);
  all[0].loglikelihood = -1, all[1].loglikelihood = -2;  // right
  all[2].loglikelihood = -1, all[3].loglikelihood = -2;  // wrong
  all[0].is_greedy = true;
  return all;
}

TaskResult result(const std::string& name, const std::string& group, int64_t count, double value,
                  double error) {
  TaskResult made{.name = name, .group = group};
  made.count = count;
  made.metrics = {{.name = "acc", .value = value, .error = error}};
  return made;
}

TEST(ResultsTest, a_task_is_scored_from_answers_in_its_order) {
  const TaskScores scores = score_task(two_questions(), answers());
  EXPECT_EQ(scores.result.name, "arc_easy");
  EXPECT_EQ(scores.result.version, 1);
  EXPECT_EQ(scores.result.count, 2);
  ASSERT_EQ(scores.result.metrics.size(), 2U);
  EXPECT_EQ(scores.result.metrics[0].name, "acc");
  EXPECT_DOUBLE_EQ(scores.result.metrics[0].value, 0.5);
  EXPECT_DOUBLE_EQ(*scores.result.metrics[0].error, 0.5);
  EXPECT_THAT(scores.items[0], ElementsAre(1, 1));
  EXPECT_THAT(scores.items[1], ElementsAre(0, 0));
  EXPECT_ERROR(score_task(two_questions(), {}), "arc_easy: expected an answer a request");
}

TEST(ResultsTest, mmlu_counts_each_question_once) {
  const std::vector<TaskResult> tasks = {result("mmlu_astronomy", "mmlu", 100, 0.5, 0.05),
                                         result("mmlu_virology", "mmlu", 300, 0.9, 0.02),
                                         result("piqa", "", 1000, 0.1, 0.01)};
  const auto groups = group_results(tasks);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].name, "mmlu");
  EXPECT_EQ(groups[0].count, 400);
  EXPECT_NEAR(groups[0].metrics[0].value, 0.8, 1e-12);
  // The harness's pooled error: sum of (n - 1) s^2 over N - k, by N, with s^2 = n e^2.
  const double pooled = (99 * 100 * 0.05 * 0.05 + 299 * 300 * 0.02 * 0.02) / 398;
  EXPECT_NEAR(*groups[0].metrics[0].error, std::sqrt(pooled / 400), 1e-12);
}

TEST(ResultsTest, categories_of_mmlu_are_shown_when_complete) {
  std::vector<TaskResult> tasks;
  for (const std::string& name : mmlu_group("mmlu_other")) {
    tasks.push_back(result(name, "mmlu", 10, 0.5, 0.1));
  }
  auto groups = group_results(tasks);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[1].name, "mmlu_other");
  tasks.pop_back();
  EXPECT_EQ(group_results(tasks).size(), 1U);
}

TEST(ResultsTest, ruler_tasks_of_a_length_count_alike) {
  const auto task = [](const std::string& name, int64_t count, std::vector<Metric> metrics) {
    TaskResult made{.name = name, .group = "ruler"};
    made.count = count;
    made.metrics = std::move(metrics);
    return made;
  };
  const std::vector<TaskResult> tasks = {
      task("niah_single_1/4096", 500, {{.name = "all", .value = 1}}),
      task("ruler_qa_squad/4096", 100,
           {{.name = "part/harness", .value = 0.25}, {.name = "part/ruler", .value = 0.5}}),
      task("niah_single_1/8192", 500, {{.name = "all", .value = 0.5}})};
  const auto groups = group_results(tasks);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].name, "ruler/4096");
  EXPECT_THAT(groups[0].of, ElementsAre("niah_single_1/4096", "ruler_qa_squad/4096"));
  EXPECT_DOUBLE_EQ(groups[0].metrics[0].value, 0.625);
  EXPECT_DOUBLE_EQ(groups[0].metrics[1].value, 0.75);
  EXPECT_EQ(groups[0].metrics[1].name, "score/ruler");
}

TEST(ResultsTest, groups_without_some_of_their_tasks_are_in_the_table_only) {
  std::vector<TaskResult> tasks;
  for (const std::string& name : mmlu_group("mmlu")) {
    tasks.push_back(result(name, "mmlu", 10, 0.5, 0.1));
  }
  for (const std::string& name : ruler_task_names()) {
    tasks.push_back(result(name + "/4096", "ruler", 10, 0.5, 0.1));
  }
  const auto file = [&] { return results_json(tasks, group_results(tasks)); };
  for (const char* name : {"mmlu", "ruler/4096"}) EXPECT_TRUE(file()["groups"].contains(name));
  tasks.pop_back();
  tasks.erase(tasks.begin());
  for (const char* name : {"mmlu", "ruler/4096"}) {
    EXPECT_FALSE(file()["groups"].contains(name));
    EXPECT_FALSE(file()["results"].contains(name));
  }
  const Table table = results_table(tasks, group_results(tasks));
  const auto has_row = [&](const std::string& name) {
    return std::ranges::any_of(table.rows, [&](const auto& row) { return row[0] == name; });
  };
  EXPECT_TRUE(has_row("mmlu (mean of 56 of its 57 tasks)"));
  EXPECT_TRUE(has_row("ruler/4096 (mean of 12 of its 13 tasks)"));
}

TEST(ResultsTest, the_table_has_a_row_a_metric) {
  const std::vector<TaskResult> tasks = {score_task(two_questions(), answers()).result,
                                         result("mmlu_astronomy", "mmlu", 2, 0.5, 0.05),
                                         result("mmlu_virology", "mmlu", 2, 0.5, 0.05)};
  const Table table = results_table(tasks, group_results(tasks));
  ASSERT_EQ(table.rows.size(), 5U);
  EXPECT_THAT(table.rows[0], ElementsAre("arc_easy", "1", "0", "acc", "0.5000", "± 0.5000", "2"));
  EXPECT_THAT(table.rows[1], ElementsAre("", "", "", "acc_norm", "0.5000", "± 0.5000", ""));
  EXPECT_EQ(table.rows[4][0], "mmlu (mean of 2 of its 57 tasks)");
}

TEST(ResultsTest, the_file_has_the_harness_shape) {
  TaskResult wikitext{.name = "wikitext", .version = 2};
  wikitext.count = 62;
  wikitext.metrics = {{.name = "word_perplexity", .value = 12.5}};
  std::vector<TaskResult> tasks = {score_task(two_questions(), answers()).result, wikitext};
  const auto subjects = mmlu_group("mmlu_other");
  for (const auto& name : subjects) tasks.push_back(result(name, "mmlu", 2, 0.5, 0.05));
  const Json json = results_json(tasks, group_results(tasks));
  EXPECT_EQ(json["results"]["arc_easy"]["acc,none"], 0.5);
  EXPECT_EQ(json["results"]["arc_easy"]["acc_norm_stderr,none"], 0.5);
  EXPECT_EQ(json["results"]["wikitext"]["word_perplexity_stderr,none"], "N/A");
  EXPECT_EQ(json["results"]["mmlu_other"]["acc,none"], 0.5);
  EXPECT_EQ(json["groups"]["mmlu_other"]["acc,none"], 0.5);
  EXPECT_EQ(json["group_subtasks"]["mmlu_other"], Json(subjects));
  EXPECT_EQ(json["versions"]["wikitext"], 2);
  EXPECT_EQ(json["n-shot"]["arc_easy"], 0);
  EXPECT_EQ(json["n-samples"]["wikitext"]["effective"], 62);
  EXPECT_EQ(json["n-samples"]["wikitext"]["original"], 62);
}

TEST(ResultsTest, samples_say_what_was_asked_and_answered) {
  const Task task = two_questions();
  const auto given = answers();
  std::istringstream lines(sample_lines(task, given, score_task(task, given).items));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const Json json = parse_json(line, "sample");
  EXPECT_EQ(json["task"], "arc_easy");
  EXPECT_EQ(json["doc_id"], 0);
  EXPECT_EQ(json["id"], "q0");
  EXPECT_EQ(json["target"], 0);
  EXPECT_THAT(json["arguments"][1], ElementsAre("Question?", " no"));
  EXPECT_THAT(json["resps"][0], ElementsAre(-1.0, true));
  EXPECT_EQ(json["acc"], 1.0);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(ResultsTest, samples_hold_generated_text_and_its_stops) {
  Task task{.name = "fda", .scoring = &Scoring::kContains};
  TaskItem item;
  item.references = {"K123"};
  EvalRequest request;
  request.kind = RequestKind::kGenerate;
  request.context = "number:";
  request.until = {"\n"};
  request.max_tokens = 48;
  item.requests = {request};
  task.items = {item};
  std::vector<EvalAnswer> given(1);
  given[0].text = " k123.";
  const Json json = parse_json(sample_lines(task, given, score_task(task, given).items), "sample");
  EXPECT_EQ(json["arguments"][0][1]["until"][0], "\n");
  EXPECT_EQ(json["arguments"][0][1]["max_gen_toks"], 48);
  EXPECT_EQ(json["resps"][0], " k123.");
  EXPECT_EQ(json["target"][0], "K123");
  EXPECT_EQ(json["contains"], 1.0);
}

}  // namespace
}  // namespace hypenet
