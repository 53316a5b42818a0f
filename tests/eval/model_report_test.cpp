// A page of several models, from results that the real writers made.
#include "eval/model_report.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::VariantWith;
using Row = std::vector<std::string>;

TaskResult task(const std::string& name, std::vector<Metric> metrics, int64_t count = 100) {
  TaskResult made{.name = name};
  made.count = count;
  made.metrics = std::move(metrics);
  return made;
}

TaskResult choices(const std::string& name, double acc, double acc_norm) {
  return task(name, {{.name = "acc", .value = acc, .error = 0.03},
                     {.name = "acc_norm", .value = acc_norm, .error = 0.04}});
}

TaskResult accuracy(const std::string& name, double acc) {
  return task(name, {{.name = "acc", .value = acc, .error = 0.03}});
}

TaskResult ruler(const std::string& name, int64_t length, double value) {
  TaskResult made = task(concat(name, "/", length), {{.name = "all", .value = value}});
  made.group = "ruler";
  return made;
}

/// results.json as eval writes it.
ResultFile file(const std::vector<TaskResult>& tasks, const std::string& place = "results.json") {
  return {place, results_json(tasks, group_results(tasks))};
}

ModelResults model(const std::string& name, const std::vector<TaskResult>& tasks) {
  return read_model_results(name, std::vector{file(tasks)});
}

/// What the page has from this heading to the next one.
std::vector<ReportPart> section(const std::string& heading, const ModelReportData& data) {
  std::vector<ReportPart> found;
  for (const ReportPart& part : model_report("page", data).parts) {
    const auto* begins = std::get_if<Heading>(&part);
    if (begins != nullptr && !found.empty()) break;
    if (begins != nullptr ? begins->text == heading : !found.empty()) found.push_back(part);
  }
  return found;
}

std::vector<ReportPart> task_section(std::vector<ModelResults> models) {
  return section("Tasks", {.models = std::move(models)});
}

std::vector<ReportPart> length_section(std::vector<ModelResults> models) {
  return section("Long prompts", {.models = std::move(models)});
}

std::vector<ReportPart> grid_section(std::vector<ModelResults> models) {
  return section("Needle grid", {.models = std::move(models)});
}

std::vector<ReportPart> comparison_section(std::vector<ModelComparison> comparisons) {
  return section("Along the context", {.comparisons = std::move(comparisons)});
}

const Table& first_table(const std::vector<ReportPart>& parts) {
  for (const ReportPart& part : parts) {
    if (const auto* table = std::get_if<Table>(&part)) return *table;
  }
  throw Error("expected a table, found none");
}

std::vector<Chart> charts(const std::vector<ReportPart>& parts) {
  std::vector<Chart> found;
  for (const ReportPart& part : parts) {
    if (const auto* chart = std::get_if<Chart>(&part)) found.push_back(*chart);
  }
  return found;
}

TEST(TaskSectionTest, has_the_usual_metric_of_each_task_and_the_mean_of_shared_accuracies) {
  const auto table = first_table(task_section(
      {model("teacher", {choices("arc_easy", 0.5, 0.6), accuracy("winogrande", 0.7),
                         task("lambada_openai", {{.name = "acc", .value = 0.4},
                                                 {.name = "perplexity", .value = 12.345}}),
                         choices("piqa", 0.1, 0.2)}),
       model(
           "student",
           {accuracy("winogrande", 0.5), choices("arc_easy", 0.9, 0.4),
            task("lambada_openai",
                 {{.name = "acc", .value = 0.3}, {.name = "perplexity", .value = 23.456}}, 20)})}));
  EXPECT_THAT(table.header, ElementsAre("task", "metric", "shots", "n", "teacher", "student"));
  EXPECT_THAT(
      table.rows,
      ElementsAre(
          Row{"arc_easy", "acc_norm", "0", "100", "0.6000 ± 0.0400", "0.4000 ± 0.0400"},
          Row{"winogrande", "acc", "0", "100", "0.7000 ± 0.0300", "0.5000 ± 0.0300"},
          Row{"lambada_openai", "acc", "0", "100 / 20", "0.4000", "0.3000"},
          Row{"lambada_openai", "perplexity", "0", "100 / 20", "12.35", "23.46"},
          Row{"piqa", "acc_norm", "0", "100", "0.2000 ± 0.0400", ""},
          // (0.6 + 0.7 + 0.4) / 3; one has no error, so that the mean has none
          Row{"mean of the 3 accuracy tasks that all models have", "", "", "", "0.5667", "0.4000"},
          Row{"difference from teacher", "", "", "", "", "-0.1667"}));
}

TEST(TaskSectionTest, a_mean_has_the_error_of_independent_tasks) {
  const auto table =
      first_table(task_section({model("m", {choices("arc_easy", 0, 0.5), accuracy("x", 0.7)})}));
  EXPECT_THAT(table.rows.back(), ElementsAre("mean of the 2 accuracy tasks that all models have",
                                             "", "", "", "0.6000 ± 0.0250"));
}

TEST(TaskSectionTest, a_model_without_accuracies_takes_nothing_from_the_mean) {
  const ModelResults a = model("a", {accuracy("x", 0.4), accuracy("y", 0.6)});
  const ModelResults b = model("b", {task("wikitext", {{.name = "word_perplexity", .value = 20},
                                                       {.name = "byte_perplexity", .value = 2}})});
  const auto table = first_table(task_section({a, b}));
  ASSERT_EQ(table.rows.size(), 5U);
  EXPECT_THAT(table.rows[2], ElementsAre("wikitext", "word_perplexity", "0", "100", "", "20.00"));
  EXPECT_EQ(table.rows[3][4].substr(0, 6), "0.5000");
  EXPECT_EQ(table.rows[3][5], "");
  EXPECT_EQ(table.rows[4].back(), "");
  // Where it is the first, there is nothing to differ from.
  EXPECT_EQ(first_table(task_section({b, a})).rows.size(), 4U);
}

TEST(TaskSectionTest, a_whole_mmlu_stands_for_its_subjects) {
  ResultFile whole = file({accuracy("mmlu_virology", 0.1), accuracy("piqa", 0.3)});
  whole.json["results"]["mmlu"] = {{"alias", "mmlu"}, {"acc,none", 0.5}};
  const auto rows = first_table(task_section({read_model_results("m", std::vector{whole})})).rows;
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0][0], "piqa");
  EXPECT_EQ(rows[1][0], "mmlu");
  EXPECT_EQ(rows[2][4], "0.4000");
  // Subjects alone are shown, and are no accuracy tasks of their own.
  const auto part = first_table(
      task_section({model("m", {accuracy("mmlu_virology", 0.1), accuracy("piqa", 0.3)})}));
  ASSERT_EQ(part.rows.size(), 2U);
  EXPECT_EQ(part.rows[0][0], "mmlu_virology");
}

TEST(TaskSectionTest, what_mmlu_does_not_stand_for_stays) {
  ResultFile whole = file({accuracy("mmlu_pro", 0.2), accuracy("mmlu_virology", 0.1)});
  whole.json["results"]["mmlu"] = {{"acc,none", 0.5}};
  const auto rows = first_table(task_section({read_model_results("a", std::vector{whole}),
                                              model("b", {accuracy("mmlu_virology", 0.3)})}))
                        .rows;
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0][0], "mmlu_pro");
  EXPECT_EQ(rows[1][0], "mmlu_virology");  // the second model has no mean of all subjects
  EXPECT_EQ(rows[1][5], "0.3000 ± 0.0300");
  EXPECT_EQ(rows[2][0], "mmlu");
  EXPECT_EQ(rows[3][4], "0.3500");
}

TEST(TaskSectionTest, a_group_does_not_count_beside_its_members) {
  ResultFile harness = file({accuracy("a", 0.2), accuracy("b", 0.4), accuracy("all", 0.3)});
  harness.json["group_subtasks"] = {{"a", Json::array()}, {"all", {"a", "b"}}};
  const auto rows = first_table(task_section({read_model_results("m", std::vector{harness})})).rows;
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[3][0], "mean of the 2 accuracy tasks that all models have");
  EXPECT_EQ(rows[3][4].substr(0, 6), "0.3000");
}

TEST(TaskSectionTest, what_a_file_does_not_say_is_no_zero) {
  const Json silent = {{"results", {{"x", {{"acc,none", 0.5}}}, {"y", {{"acc,none", nullptr}}}}}};
  const auto quiet = read_model_results("quiet", std::vector<ResultFile>{{"r.json", silent}});
  EXPECT_THAT(first_table(task_section({quiet})).rows,
              ElementsAre(Row{"x", "acc", "", "", "0.5000"}, Row{"y", "acc", "", "", ""}));
  const auto row = first_table(task_section({quiet, model("m", {accuracy("x", 0.5)})})).rows[0];
  EXPECT_EQ(row[2], "? / 0");
  EXPECT_EQ(row[3], "? / 100");
}

TEST(LengthSectionTest, the_harness_own_lengths_are_lengths) {
  const Json json = {
      {"results",
       {{"niah_single_1", {{"alias", "x"}, {"4096,none", 0.5}, {"8192,none", -1}}},
        {"ruler_qa_squad", {{"4096,none", 0.25}, {"4096_stderr,none", "N/A"}, {"8192,none", -1}}},
        {"ruler", {{"4096,none", 0.375}, {"8192,none", -1}}}}}};
  const auto harness = read_model_results("harness", std::vector<ResultFile>{{"r.json", json}});
  EXPECT_THAT(task_section({harness}), IsEmpty());
  const Table table =
      first_table(length_section({model("ours", {ruler("niah_single_1", 4096, 1)}), harness}));
  EXPECT_THAT(table.header, ElementsAre("task", "model", "4K"));
  EXPECT_THAT(table.rows,
              ElementsAre(Row{"niah_single_1", "ours", "1.000"}, Row{"", "harness", "0.500"},
                          Row{"ruler_qa_squad, part/harness", "harness", "0.250"}));
}

TEST(LengthSectionTest, has_a_row_a_task_and_model_and_a_chart_a_task) {
  const auto parts = length_section(
      {model("teacher", {ruler("niah_single_1", 4096, 1), ruler("niah_single_1", 8192, 0.5),
                         ruler("ruler_vt", 4096, 0.5), ruler("ruler_vt", 8192, 0.25)}),
       model("student", {ruler("niah_single_1", 4096, 0.75), ruler("ruler_vt", 4096, 0.25),
                         ruler("ruler_cwe", 4096, 0.125), accuracy("piqa", 0.5)})});
  const Table& table = first_table(parts);
  EXPECT_THAT(table.header, ElementsAre("task", "model", "4K", "8K"));
  EXPECT_THAT(
      table.rows,
      ElementsAre(Row{"RULER, mean of 2 tasks", "teacher", "0.750", "0.375"},
                  Row{"", "student", "0.500", ""},
                  Row{"niah_single_1", "teacher", "1.000", "0.500"},
                  Row{"", "student", "0.750", ""}, Row{"ruler_vt", "teacher", "0.500", "0.250"},
                  Row{"", "student", "0.250", ""}, Row{"ruler_cwe", "student", "0.125", ""}));
  const std::vector<Chart> drawn = charts(parts);
  ASSERT_EQ(drawn.size(), 4U);
  EXPECT_THAT(drawn[1].title, HasSubstr("niah_single_1"));
  EXPECT_TRUE(drawn[1].log_x);
  ASSERT_EQ(drawn[1].series.size(), 2U);
  EXPECT_EQ(drawn[1].series[0].name, "teacher");
  EXPECT_THAT(drawn[1].series[0].x, ElementsAre(4096, 8192));
  EXPECT_THAT(drawn[1].series[0].y, ElementsAre(1, 0.5));
}

TEST(LengthSectionTest, one_length_needs_no_chart_and_question_tasks_show_both_metrics) {
  const auto parts = length_section(
      {model("m", {task("ruler_qa_squad/4096", {{.name = "part/harness", .value = 0.25},
                                                {.name = "part/ruler", .value = 0.5}}),
                   task("recall/4096", {{.name = "exact", .value = 1}})})});
  EXPECT_THAT(charts(parts), IsEmpty());
  EXPECT_THAT(
      first_table(parts).rows,
      ElementsAre(Row{"ruler_qa_squad, part/harness", "m", "0.250"},
                  Row{"ruler_qa_squad, part/ruler", "m", "0.500"}, Row{"recall", "m", "1.000"}));
}

NeedleGrid grid(const std::string& name, std::vector<int64_t> contexts) {
  NeedleGrid made{.name = name, .contexts = std::move(contexts), .depths = {0, 100}, .samples = 4};
  for (size_t i = 0; i < made.contexts.size(); ++i) made.shares.push_back({1, 0.5});
  return made;
}

TEST(GridSectionTest, grids_of_the_same_places_share_a_picture) {
  std::vector<ModelResults> models;
  for (const std::string name : {"teacher", "student"}) {
    ResultFile results = file({});
    results.json["needle_grids"] = {needle_grid_json(grid("folder", {256, 512}))};
    models.push_back(read_model_results(name, std::vector{results}));
  }
  ResultFile other = file({});
  other.json["needle_grids"] = {needle_grid_json(grid("folder", {1024}))};
  models.push_back(read_model_results("third", std::vector{other}));
  const auto parts = grid_section(models);
  EXPECT_THAT(first_table(parts).rows, ElementsAre(Row{"teacher", "0.750", "0.750", "0.750"},
                                                   Row{"student", "0.750", "0.750", "0.750"}));
  std::vector<std::string> pictures;
  for (const ReportPart& part : parts) {
    if (const auto* picture = std::get_if<Picture>(&part)) pictures.push_back(picture->svg);
  }
  ASSERT_EQ(pictures.size(), 2U);
  EXPECT_THAT(pictures[0], HasSubstr("student"));
  EXPECT_THAT(pictures[1], HasSubstr("third"));
}

TEST(GridSectionTest, grids_of_other_prompts_are_apart_and_equal_ones_shown_once) {
  const auto model_of = [](const std::string& name, std::vector<NeedleGrid> grids) {
    ResultFile results = file({});
    for (const NeedleGrid& each : grids) {
      results.json["needle_grids"].push_back(needle_grid_json(each));
    }
    return read_model_results(name, std::vector{results});
  };
  NeedleGrid many = grid("folder", {256}), essays = grid("folder", {256});
  many.samples = 5;
  essays.haystack = "essays";
  const NeedleGrid teacher = grid("teacher", {256});
  const auto parts = grid_section({model_of("a", {grid("folder", {256}), teacher}),
                                   model_of("b", {grid("folder", {256}), teacher, many}),
                                   model_of("c", {essays})});
  std::vector<std::vector<std::string>> names;
  for (const ReportPart& part : parts) {
    const auto* table = std::get_if<Table>(&part);
    if (table == nullptr) continue;
    names.emplace_back();
    for (const Row& row : table->rows) names.back().push_back(row[0]);
  }
  EXPECT_THAT(names, ElementsAre(Row{"a", "teacher", "b"}, Row{"folder"}, Row{"c"}));
  EXPECT_EQ(std::get<Picture>(parts.back()).title, "Facts found, by context and depth: essays");
}

/// `hypenet compare --json` over 20 positions; `loss` is the teacher's.
Json comparison_json(double kl, double loss) {
  const std::vector<double> divergences(20, kl), agreements(20, 0.5), losses(20, loss),
      others(20, std::log(8.0));
  return {
      {"a", "models/teacher/"},
      {"b", "b"},
      {"windows", 3},
      {"positions",
       {{"kl", divergences}, {"agreement", agreements}, {"loss_a", losses}, {"loss_b", others}}}};
}

ModelComparison comparison(const std::string& name, double kl, double loss) {
  return read_comparison(name, {"compare.json", comparison_json(kl, loss)});
}

TEST(ComparisonSectionTest, the_teacher_is_shown_once_when_its_numbers_are_the_same) {
  const double loss = std::log(4.0);
  const auto parts =
      comparison_section({comparison("s2", 0.5, loss), comparison("s3", 0.25, loss)});
  EXPECT_THAT(first_table(parts).rows,
              ElementsAre(Row{"1 to 16", "0.5000", "0.2500"}, Row{"17 to 20", "0.5000", "0.2500"},
                          Row{"all", "0.5000", "0.2500"}));
  const auto drawn = charts(parts);
  ASSERT_EQ(drawn.size(), 3U);
  ASSERT_EQ(drawn[0].series.size(), 3U);  // the teacher's colour is kept for it
  EXPECT_THAT(drawn[0].series[0].x, IsEmpty());
  EXPECT_EQ(drawn[0].series[2].name, "s3");
  ASSERT_EQ(drawn[2].series.size(), 3U);
  EXPECT_EQ(drawn[2].series[0].name, "teacher");
  EXPECT_NEAR(drawn[2].series[0].y[0], 4, 1e-12);
  EXPECT_NEAR(drawn[2].series[1].y[0], 8, 1e-12);
  const auto apart = charts(comparison_section({comparison("s2", 1, 1), comparison("s3", 1, 2)}));
  EXPECT_THAT(comparison_section({comparison("s2", 1, 1), comparison("s3", 1, 2)}),
              Not(Contains(VariantWith<std::string>("Perplexity on the same text:"))));
  ASSERT_EQ(apart[2].series.size(), 4U);
  EXPECT_EQ(apart[2].series[3].name, "teacher, beside s3");
}

TEST(ComparisonSectionTest, means_are_over_the_same_positions) {
  ModelComparison longer = comparison("long", 0.25, 1);
  longer.positions.resize(30, {.divergence = 0.75});
  const auto rows = first_table(comparison_section({comparison("short", 0.5, 1), longer})).rows;
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[3], (Row{"1 to 20", "0.5000", "0.2500"}));
  EXPECT_EQ(rows[4], (Row{"1 to 30", "", "0.4167"}));
}

TEST(DecodeSectionTest, has_milliseconds_and_bytes) {
  const Json points = {{{"shape", "hypenet-2b"},
                        {"context", 4096},
                        {"ms", 1.5},
                        {"floor_ms", 1},
                        {"cache_bytes", 3 << 20}},
                       {{"shape", "qwen3-1.7b"},
                        {"context", 8192},
                        {"ms", 2.5},
                        {"floor_ms", 1},
                        {"cache_bytes", 1 << 20}}};
  const std::vector<ResultFile> files = {{"decode.json", points}};
  const auto parts = section("Decode", {.speeds = read_decode_speeds(files)});
  EXPECT_THAT(first_table(parts).rows, ElementsAre(Row{"4K", "1.500", ""}, Row{"8K", "", "2.500"}));
  ASSERT_EQ(charts(parts).size(), 2U);
  EXPECT_THAT(std::get<Table>(parts[3]).rows,
              ElementsAre(Row{"4K", "3.0", ""}, Row{"8K", "", "1.0"}));
  EXPECT_ERROR(
      read_decode_speeds(std::vector{files[0], files[0]}),
      "decode.json: [0]: expected a shape and context of its own, found hypenet-2b at 4096");
  const Json prefill = {{{"shape", "x"}, {"context", 4096}, {"ms", 1.5}, {"floor_ms", 1}}};
  EXPECT_ERROR(read_decode_speeds(std::vector<ResultFile>{{"prefill.json", prefill}}),
               "prefill.json: [0]: expected \"cache_bytes\", found none");
}

TEST(TrainingSectionTest, runs_of_one_stage_share_a_chart) {
  const auto line = [](const char* stage, int64_t step, double loss) {
    const Json json = {{"stage", stage},
                       {"step", step},
                       {"steps", 100},
                       {"loss", loss},
                       {"learning_rate", 0.1},
                       {"gradient_norm", 1},
                       {"tokens_per_second", 1000.4}};
    return json.dump() + "\n";
  };
  const std::string text =
      line("2-align", 10, 0.5) + line("2-align", 20, 0.25) + line("5-distill", 10, 4);
  std::vector<TrainingCurve> curves = read_training("first", "metrics.jsonl", text);
  const auto more = read_training("second", "metrics.jsonl", line("2-align", 10, 0.125));
  curves.insert(curves.end(), more.begin(), more.end());
  const auto parts = section("Training", {.curves = curves});
  EXPECT_THAT(first_table(parts).rows[0],
              ElementsAre("first", "2-align", "20", "100", "0.5000", "0.2500", "1000"));
  const auto drawn = charts(parts);
  ASSERT_EQ(drawn.size(), 2U);
  ASSERT_EQ(drawn[0].series.size(), 2U);
  EXPECT_THAT(drawn[0].series[0].y, ElementsAre(0.5, 0.25));
  EXPECT_EQ(drawn[0].series[1].name, "second");
  EXPECT_THAT(drawn[1].title, HasSubstr("5-distill"));
  // A killed run leaves part of a line.
  const auto torn = read_training("x", "m.jsonl", line("a", 1, 2) + "{\"stage\":\"a");
  EXPECT_EQ(torn[0].loss.size(), 1U);
  EXPECT_ERROR(read_training("x", "m.jsonl", line("a", 1, 2) + "{\"stage\n"),
               "m.jsonl:2: expected");
  EXPECT_ERROR(read_training("x", "m.jsonl", line("a", 1, 2) + "{}\n"),
               "m.jsonl:2: expected \"stage\", found none");
  EXPECT_ERROR(read_training("x", "m.jsonl", ""), "m.jsonl: expected a line a report");
}

TEST(ModelReportTest, what_nobody_was_measured_on_has_no_section) {
  EXPECT_THAT(model_report("Nothing", {}).parts, IsEmpty());
  ResultFile results = file({accuracy("piqa", 0.5)});
  results.json["config"] = {
      {"model_args", "out/m"}, {"dtype", "bfloat16"}, {"attn_logits_scaling", nullptr}};
  results.json["git_hash"] = "0123456789abcdef";
  const Report report =
      model_report("One", {.models = {read_model_results("m", std::vector{results})}});
  ASSERT_EQ(report.parts.size(), 4U);
  EXPECT_EQ(std::get<Heading>(report.parts[0]).text, "Tasks");
  EXPECT_THAT(std::get<Table>(report.parts[3]).rows,
              ElementsAre(Row{"m", "out/m", "bfloat16", "none", "0123456789"}));
}

TEST(ModelReportTest, a_name_has_one_colour_in_all_charts) {
  const auto lengths = [](const std::string& name) {
    return model(name, {ruler("niah_single_1", 4096, 1), ruler("niah_single_1", 8192, 1)});
  };
  ModelReportData data{.models = {lengths("teacher"), lengths("s2"), lengths("s3")},
                       .comparisons = {comparison("s3", 1, 1), comparison("s2", 1, 1)}};
  data.curves = read_training("s3", "m.jsonl",
                              R"({"stage":"x","step":1,"steps":9,"loss":2,"tokens_per_second":3})");
  data.speeds = {{.shape = "other", .context = 1, .ms = 1}};
  const auto drawn = charts(model_report("Page", data).parts);
  ASSERT_EQ(drawn.size(), 7U);
  const std::map<std::string, size_t> places = {{"teacher", 0}, {"s2", 1}, {"s3", 2}, {"other", 0}};
  for (const Chart& chart : drawn) {
    for (size_t i = 0; i < chart.series.size(); ++i) {
      const Series& series = chart.series[i];
      if (!series.x.empty()) {
        EXPECT_EQ(i, places.at(series.name)) << chart.title;
      }
    }
  }
  EXPECT_EQ(drawn[3].series.size(), 3U);
}

TEST(ModelReportTest, says_what_was_compared) {
  Json json = comparison_json(1, 1);
  json["attn_logits_scaling_a"] = nullptr;
  json["attn_logits_scaling_b"] = "hype 20";
  json["text"] = {"x.jsonl", "y.jsonl"};
  const Report report =
      model_report("One", {.comparisons = {read_comparison("s2", {"c.json", json})}});
  EXPECT_THAT(std::get<Table>(report.parts.back()).rows,
              ElementsAre(Row{"s2", "b", "hype 20", "models/teacher/", "none", "x.jsonl, y.jsonl",
                              "3", "20"}));
}

TEST(ResultFilesTest, files_of_one_model_are_merged_and_nothing_twice) {
  const ResultFile a = file({accuracy("piqa", 0.5)}, "a.json");
  const ResultFile b = file({accuracy("x", 0.25)}, "b.json");
  EXPECT_EQ(read_model_results("m", std::vector{a, b}).tasks.size(), 2U);
  EXPECT_ERROR(read_model_results("m", std::vector{b, a, a}),
               "a.json: piqa: expected a result that m does not have, found it in a.json too");
  ResultFile c = file({}, "c.json");
  c.json["needle_grids"] = {needle_grid_json(grid("folder", {256}))};
  EXPECT_ERROR(read_model_results("m", std::vector{c, c}), "c.json: needle grid of m at [256]");
}

TEST(ResultFilesTest, other_shapes_are_an_error_with_place_expected_and_found) {
  const auto model_of = [](const Json& json) {
    return read_model_results("m", std::vector<ResultFile>{{"r.json", json}});
  };
  EXPECT_ERROR(model_of(Json::array()), "r.json: expected an object, found an array");
  EXPECT_ERROR(model_of(Json::object()), "r.json: expected \"results\", found none");
  EXPECT_ERROR(model_of({{"results", 3}}), "r.json: results: expected an object, found an integer");
  EXPECT_ERROR(model_of({{"results", {{"piqa", {{"acc,none", "x"}}}}}}),
               "r.json: results: piqa: acc,none: expected a number, found a string");
  EXPECT_ERROR(model_of({{"results", Json::object()}, {"needle_grids", {{{"name", "x"}}}}}),
               "r.json: needle_grids[0]: expected \"contexts\", found none");
  Json ragged = needle_grid_json(grid("x", {256}));
  ragged["shares"] = {{1.0}};
  EXPECT_ERROR(model_of({{"results", Json::object()}, {"needle_grids", {ragged}}}),
               "r.json: needle_grids[0]: shares: expected a number for each of 1 contexts and 2");
  Json comparison = comparison_json(1, 1);
  comparison["positions"]["loss_b"].erase(0);
  EXPECT_ERROR(read_comparison("m", {"c.json", comparison}),
               "c.json: positions: expected 20 numbers of each kind, as of kl, found 19");
  EXPECT_ERROR(read_comparison("m", {"c.json", Json::object()}), "c.json: expected \"a\"");
  EXPECT_ERROR(read_decode_speeds(std::vector<ResultFile>{{"d.json", {{"series", 1}}}}),
               "d.json: expected an array, found an object");
}

}  // namespace
}  // namespace hypenet
