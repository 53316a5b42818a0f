// Readers of result files: JSON in, structs out, one-line errors.
#include "eval/result_files.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/join.h"
#include "base/json_text.h"
#include "eval/ruler/ruler.h"

namespace hypenet {
namespace {

template <class T>
T read_value(const Json& json, const std::string& place) {
  T value{};
  read_fields(json, place, value);
  return value;
}

const Json& member(const Json& json, const char* key, const std::string& place) {
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  HYPENET_CHECK(json.contains(key), place, ": expected \"", key, "\", found none");
  return json.at(key);
}

template <class T>
T read_member(const Json& json, const char* key, const std::string& place) {
  return read_value<T>(member(json, key, place), concat(place, ": ", key));
}

/// What stands under these keys, one in the other; null where a file is silent.
const Json* find(const Json& json, std::initializer_list<std::string_view> keys) {
  const Json* found = &json;
  for (const std::string_view key : keys) {
    if (!found->is_object() || !found->contains(key)) return nullptr;
    found = &found->at(key);
  }
  return found;
}

/// A number of items or shots.
int64_t read_count(const Json* value) {
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : kUnknown;
}

/// A value as a cell of a table; "" where there is none.
std::string cell_text(const Json* value) {
  if (value == nullptr) return "";
  if (value->is_null()) return "none";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

/// "acc,none" and "acc_stderr,none": all metrics of a task. Another filter of the harness than none
/// stays in the metric's name.
std::vector<Metric> read_metrics(const Json& json, const std::string& place) {
  HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  std::vector<Metric> metrics;
  for (const auto& [key, value] : json.items()) {
    const size_t comma = key.find(',');
    if (comma == std::string::npos) continue;
    const std::string name = key.substr(0, comma), filter = key.substr(comma);
    if (name.ends_with("_stderr")) continue;
    Metric metric{.name = filter == ",none" ? name : key,
                  .value = value.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                           : read_value<double>(value, concat(place, ": ", key))};
    const std::string error = concat(name, "_stderr", filter);
    if (json.contains(error) && json.at(error).is_number()) metric.error = json.at(error);
    metrics.push_back(std::move(metric));
  }
  return metrics;
}

bool is_length(const Metric& metric) {
  return !metric.name.empty() && metric.name.find_first_not_of("0123456789") == std::string::npos;
}

/// RULER's task or group as the harness writes it, "4096,none", as a task a length with the metrics
/// that eval writes; any other as it is.
std::vector<TaskResult> split_lengths(const TaskResult& task) {
  const auto& ruler = ruler_task_names();
  const bool is_ruler = task.name == "ruler" || std::ranges::find(ruler, task.name) != ruler.end();
  if (!is_ruler || !std::ranges::all_of(task.metrics, is_length)) return {task};
  const std::string metric_name = task.name == "ruler"                 ? "score/harness"
                                  : task.name.starts_with("ruler_qa_") ? "part/harness"
                                                                       : "all";
  std::vector<TaskResult> parts;
  for (const Metric& metric : task.metrics) {
    if (metric.value == -1) continue;  // a length that was not run
    TaskResult part = task;
    part.name = concat(task.name, "/", metric.name);
    part.count = kUnknown;  // the harness tells that of all lengths together
    part.metrics = {metric};
    part.metrics.front().name = metric_name;
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<TaskResult> read_tasks(const ResultFile& file) {
  const Json& results = member(file.json, "results", file.place);
  HYPENET_CHECK(results.is_object(), file.place, ": results: expected an object, found ",
                json_kind(results));
  std::vector<TaskResult> tasks;
  for (const auto& [name, metrics] : results.items()) {
    TaskResult task{.name = name};
    task.metrics = read_metrics(metrics, concat(file.place, ": results: ", name));
    task.shots = read_count(find(file.json, {"n-shot", name}));
    task.count = read_count(find(file.json, {"n-samples", name, "effective"}));
    if (const Json* of = find(file.json, {"group_subtasks", name})) {
      read_fields(*of, concat(file.place, ": group_subtasks: ", name), task.of);
    }
    if (const Json* settings = find(file.json, {"task_settings", name})) task.settings = *settings;
    std::ranges::move(split_lengths(task), std::back_inserter(tasks));
  }
  return tasks;
}

/// A conversion's perplexity and recall as the tasks of eval that measure the same.
std::vector<TaskResult> read_conversion(const ResultFile& file, ConversionSide side) {
  const char* key = side == ConversionSide::kTeacher ? "teacher" : "hypenet";
  const Json& measured = member(file.json, key, file.place);
  const std::string place = concat(file.place, ": ", key);
  const auto settings_of = [&](std::initializer_list<const char*> names) {
    Json chosen;
    for (const char* name : names) {
      const Json* value = find(file.json, {"settings", "evaluate", name});
      if (value != nullptr) chosen[name] = *value;
    }
    return chosen;
  };
  TaskResult text{.name = concat("text/", read_member<int64_t>(measured, "context", place)),
                  .shots = 0,
                  .count = kUnknown,
                  .settings = settings_of({"context", "windows"})};
  for (const char* metric : {"perplexity", "next_token_accuracy"}) {
    text.metrics.push_back({.name = metric, .value = read_member<double>(measured, metric, place)});
  }
  std::vector<TaskResult> tasks = {std::move(text)};
  for (const Json& point : member(measured, "recall", place)) {
    const std::string here = place + ": recall";
    TaskResult& task = tasks.emplace_back();
    task.name = concat("recall/", read_member<int64_t>(point, "context", here));
    task.count = kUnknown;
    task.settings = settings_of({"needles", "prompts"});
    task.metrics = {{.name = "exact",
                     .value = read_member<double>(point, "share", here),
                     .error = read_member<double>(point, "error", here)}};
  }
  return tasks;
}

NeedleGrid read_grid(const Json& json, const std::string& place) {
  NeedleGrid grid{.name = read_member<std::string>(json, "name", place),
                  .contexts = read_member<std::vector<int64_t>>(json, "contexts", place),
                  .depths = read_member<std::vector<double>>(json, "depths", place),
                  .shares = read_member<std::vector<std::vector<double>>>(json, "shares", place),
                  .samples = read_member<int64_t>(json, "samples", place)};
  if (json.contains("haystack")) grid.haystack = read_member<std::string>(json, "haystack", place);
  if (json.contains("settings")) grid.settings = json.at("settings");
  const bool is_whole =
      grid.shares.size() == grid.contexts.size() && !grid.shares.empty() && !grid.depths.empty() &&
      std::ranges::all_of(grid.shares,
                          [&](const auto& row) { return row.size() == grid.depths.size(); });
  HYPENET_CHECK(is_whole, place, ": shares: expected a number for each of ", grid.contexts.size(),
                " contexts and ", grid.depths.size(), " depths, found others");
  return grid;
}

std::vector<NeedleGrid> read_grids(const ResultFile& file, const std::string& name) {
  std::vector<NeedleGrid> grids;
  if (!file.json.contains("needle_grids")) return grids;
  const std::string place = file.place + ": needle_grids";
  const Json& all = file.json.at("needle_grids");
  HYPENET_CHECK(all.is_array(), place, ": expected an array, found ", json_kind(all));
  for (const Json& json : all) {
    grids.push_back(read_grid(json, concat(place, "[", grids.size(), "]")));
  }
  if (!grids.empty()) grids.front().name = name;
  return grids;
}

ResultOrigin read_origin(const Json& json) {
  return {.folder = cell_text(find(json, {"config", "model_args"})),
          .type = cell_text(find(json, {"config", "dtype"})),
          .attn_logits_scaling = cell_text(find(json, {"config", "attn_logits_scaling"})),
          .commit = cell_text(find(json, {"git_hash"}))};
}

/// The folder of a conversion's teacher, or of the HypeNet beside its results.json.
ResultOrigin read_conversion_origin(const ResultFile& file, ConversionSide side) {
  if (side == ConversionSide::kTeacher) {
    return {.folder = cell_text(find(file.json, {"settings", "teacher"}))};
  }
  return {.folder = (std::filesystem::path(file.place).parent_path() / "model").string()};
}

/// "teacher" of out/x/teacher/, "x/model" of out/x/model.
std::string folder_name(const std::string& folder) {
  std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name == "model" ? (path.parent_path().filename() / name).string() : name;
}

}  // namespace

bool is_conversion(const Json& json) {
  return json.is_object() && !json.contains("results") && json.contains("teacher") &&
         json.contains("hypenet");
}

ModelResults read_model_results(const std::string& name, std::span<const ResultFile> files,
                                ConversionSide side) {
  ModelResults results{.name = name};
  std::map<std::string, std::string> places;  // of tasks and grids: the file
  const auto claim = [&](const std::string& what, const std::string& place) {
    const auto [found, is_new] = places.emplace(what, place);
    HYPENET_CHECK(is_new, place, ": ", what, ": expected a result that ", name,
                  " does not have, found it in ", found->second, " too");
  };
  for (const ResultFile& file : files) {
    const bool has_both = is_conversion(file.json);
    for (TaskResult& task : has_both ? read_conversion(file, side) : read_tasks(file)) {
      claim(task.name, file.place);
      results.tasks.push_back(std::move(task));
    }
    for (NeedleGrid& grid : read_grids(file, name)) {
      claim(concat("needle grid of ", grid.name, " at ", Json(grid.contexts).dump(), " and ",
                   Json(grid.depths).dump(), " %, ", grid.samples, " samples",
                   grid.haystack.empty() ? "" : " in ", grid.haystack),
            file.place);
      results.grids.push_back(std::move(grid));
    }
    const ResultOrigin origin =
        has_both ? read_conversion_origin(file, side) : read_origin(file.json);
    const bool is_known = std::ranges::find(results.origins, origin) != results.origins.end();
    if (!is_known) results.origins.push_back(origin);
  }
  return results;
}

ModelComparison read_comparison(const std::string& name, const ResultFile& file) {
  ModelComparison comparison{
      .name = name,
      .teacher = folder_name(read_member<std::string>(file.json, "a", file.place)),
      .of_student = {.folder = cell_text(find(file.json, {"b"})),
                     .attn_logits_scaling = cell_text(find(file.json, {"attn_logits_scaling_b"}))},
      .of_teacher = {.folder = cell_text(find(file.json, {"a"})),
                     .attn_logits_scaling = cell_text(find(file.json, {"attn_logits_scaling_a"}))},
      .windows = read_member<int64_t>(file.json, "windows", file.place)};
  if (file.json.contains("text")) {
    comparison.text =
        join(read_member<std::vector<std::string>>(file.json, "text", file.place), ", ");
  }
  const Json& positions = member(file.json, "positions", file.place);
  const std::string place = file.place + ": positions";
  for (const auto& [key, value] : kPositionMeasures) {
    const auto numbers = read_member<std::vector<double>>(positions, key, place);
    if (comparison.positions.empty()) {
      HYPENET_CHECK(!numbers.empty(), place, ": ", key,
                    ": expected a number a position, found none");
      comparison.positions.resize(numbers.size());
    }
    HYPENET_CHECK(numbers.size() == comparison.positions.size(), place, ": expected ",
                  comparison.positions.size(), " numbers of each kind, as of kl, found ",
                  numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) comparison.positions[i].*value = numbers[i];
  }
  return comparison;
}

std::vector<DecodeSpeed> read_decode_speeds(std::span<const ResultFile> files) {
  std::vector<DecodeSpeed> speeds;
  std::map<std::pair<std::string, int64_t>, std::string> places;
  for (const ResultFile& file : files) {
    HYPENET_CHECK(file.json.is_array(), file.place, ": expected an array, found ",
                  json_kind(file.json));
    for (size_t i = 0; i < file.json.size(); ++i) {
      const Json& point = file.json[i];
      const std::string place = concat(file.place, ": [", i, "]");
      DecodeSpeed speed{.shape = read_member<std::string>(point, "shape", place),
                        .context = read_member<int64_t>(point, "context", place),
                        .ms = read_member<double>(point, "ms", place),
                        .cache_bytes = read_member<double>(point, "cache_bytes", place)};
      const auto [found, is_new] = places.emplace(std::pair(speed.shape, speed.context), place);
      HYPENET_CHECK(is_new, place, ": expected a shape and context of its own, found ", speed.shape,
                    " at ", speed.context, " as in ", found->second);
      speeds.push_back(std::move(speed));
    }
  }
  return speeds;
}

std::vector<TrainingCurve> read_training(const std::string& name, const std::string& place,
                                         const std::string& text) {
  std::vector<TrainingCurve> curves;
  std::istringstream lines(text);
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string here = concat(place, ":", ++number);
    // The log is cut back by the same rule when the run is taken up again.
    if (lines.eof() && !try_parse_json(line)) break;
    const Json json = parse_json(line, here);
    const auto stage = read_member<std::string>(json, "stage", here);
    TrainingCurve& curve = entry(curves, &TrainingCurve::stage, stage);
    curve.name = name;
    curve.steps = read_member<int64_t>(json, "steps", here);
    curve.step.push_back(read_member<double>(json, "step", here));
    curve.loss.push_back(read_member<double>(json, "loss", here));
    curve.tokens_per_second = read_member<double>(json, "tokens_per_second", here);
  }
  HYPENET_CHECK(!curves.empty(), place, ": expected a line a report of a stage, found none");
  return curves;
}

}  // namespace hypenet
