// How tasks were measured, as a report shows it.
#include <gmock/gmock.h>

#include "eval/report_sections.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Row = std::vector<std::string>;

TaskResult task(const std::string& name, const std::string& metric) {
  TaskResult made{.name = name};
  made.metrics = {{.name = metric, .value = 0.5}};
  return made;
}

ModelResults model(const std::string& name, const std::vector<TaskResult>& tasks) {
  return read_model_results(name, std::vector<ResultFile>{{"x.json", results_json(tasks, {})}});
}

TEST(SettingsSection, how_tasks_were_measured_is_shown_and_what_differs_is_named) {
  const auto measured = [](const std::string& name, int64_t windows, const std::string& text) {
    TaskResult text_task = task("text/512", "perplexity");
    text_task.settings = {{"text", {text}}, {"windows", windows}};
    TaskResult arc = task("arc_easy", "acc"), piqa = task("piqa", "acc");
    arc.settings = piqa.settings = {{"limit", nullptr}, {"max_length", windows}};
    return model(name, {text_task, arc, piqa});
  };
  const std::vector<ModelResults> models = {measured("a", 64, "x.txt"), measured("b", 16, "y.txt")};
  EXPECT_EQ(settings_difference(models), "Not measured alike: text/512: windows 64 / 16.");
  EXPECT_EQ(settings_difference({models[0], models[0]}), "");
  EXPECT_EQ(settings_difference({models[0], model("old", {task("arc_easy", "acc")})}), "");
  const Table table = std::get<Table>(settings_parts({.models = models}).front());
  EXPECT_EQ(table.rows,
            (std::vector<Row>{
                {"text/512", "text x.txt, windows 64", "text y.txt, windows 16"},
                {"arc_easy, piqa", "limit none, max_length 64", "limit none, max_length 16"}}));
  EXPECT_THAT(settings_parts({.models = {model("old", {task("arc_easy", "acc")})}}), IsEmpty());
  const Report report = model_report("page", {.models = models});
  EXPECT_THAT(std::get<std::string>(report.parts.front()), HasSubstr("Not measured alike"));
}

}  // namespace
}  // namespace hypenet
