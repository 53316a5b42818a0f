// Result files of a conversion and of other programs; those of eval are in model_report_test.cpp.
#include <gmock/gmock.h>

#include "eval/report_sections.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

/// What a conversion writes (halo/results.h), cut short.
ResultFile conversion() {
  const auto side = [](double perplexity, double share) {
    return Json{{"context", 512},
                {"perplexity", perplexity},
                {"next_token_accuracy", 0.25},
                {"recall", {{{"context", 256}, {"share", share}, {"error", 0.05}}}},
                {"cache", {{{"context", 256}, {"bytes", 1024}}}}};
  };
  return {"out/tiny/results.json",
          {{"settings",
            {{"teacher", "models/t"},
             {"evaluate", {{"context", 512}, {"windows", 64}, {"needles", 4}, {"prompts", 48}}}}},
           {"attention_layers", {1, 3}},
           {"teacher", side(10, 0.75)},
           {"hypenet", side(11.5, 0.5)}}};
}

/// results.json as eval writes it.
ResultFile eval_file() {
  TaskResult task{.name = "winogrande"};
  task.metrics = {{.name = "acc", .value = 0.5}};
  return {"eval.json", results_json(std::vector{task}, {})};
}

TEST(ResultFiles, a_conversions_results_are_read_as_its_students_or_its_teachers) {
  const std::vector<ResultFile> files = {conversion()};
  const ModelResults student = read_model_results("HypeNet", files);
  const ModelResults teacher = read_model_results("teacher", files, ConversionSide::kTeacher);
  ASSERT_EQ(student.tasks.size(), 2U);
  EXPECT_EQ(student.tasks[0].name, "text/512");
  EXPECT_EQ(student.tasks[0].metrics[0].value, 11.5);
  EXPECT_EQ(teacher.tasks[0].metrics[0].value, 10);
  EXPECT_EQ(student.tasks[1].name, "recall/256");
  EXPECT_EQ(teacher.tasks[1].metrics[0].value, 0.75);
  EXPECT_EQ(*teacher.tasks[1].metrics[0].error, 0.05);
  EXPECT_EQ(student.tasks[0].settings, (Json{{"context", 512}, {"windows", 64}}));
  EXPECT_EQ(student.origins[0].folder, "out/tiny/model");
  EXPECT_EQ(teacher.origins[0].folder, "models/t");
  const Table table = std::get<Table>(task_parts({.models = {teacher, student}}).front());
  EXPECT_THAT(table.rows[0], ElementsAre("text/512", "perplexity", "0", "", "10.00", "11.50"));
  // Other results of the same model stand beside a conversion's.
  const auto both = std::vector{conversion(), eval_file()};
  EXPECT_EQ(read_model_results("HypeNet", both).tasks.size(), 3U);
}

TEST(ResultFiles, metrics_by_several_filters_are_several) {
  const Json json = {{"results",
                      {{"gsm8k",
                        {{"alias", "gsm8k"},
                         {"exact_match,strict", 0.25},
                         {"exact_match_stderr,strict", 0.5},
                         {"exact_match,none", 0.75},
                         {"exact_match_stderr,none", "N/A"}}}}}};
  const auto tasks = read_model_results("m", std::vector<ResultFile>{{"r.json", json}}).tasks;
  ASSERT_EQ(tasks.size(), 1U);
  ASSERT_EQ(tasks[0].metrics.size(), 2U);
  EXPECT_EQ(tasks[0].metrics[0].name, "exact_match,strict");
  EXPECT_EQ(tasks[0].metrics[0].error, 0.5);
  EXPECT_EQ(tasks[0].metrics[1].name, "exact_match");
  EXPECT_EQ(tasks[0].metrics[1].error, std::nullopt);
}

}  // namespace
}  // namespace hypenet
