// What `hypenet eval`, `compare`, `bench decode` and a training run wrote, read back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/compare.h"
#include "eval/needle_grid.h"
#include "eval/results.h"

namespace hypenet {

/// A file's JSON, and its name for errors. All readers below throw Error with the file's name, the
/// key, what was expected and what was found.
struct ResultFile {
  std::string place = {};
  Json json = {};
};

/// The element whose member has this value; a new one at the end where there is none.
template <class Element, class Value>
Element& entry(std::vector<Element>& all, Value Element::*member, const Value& value) {
  const auto found = std::ranges::find(all, value, member);
  if (found != all.end()) return *found;
  Element& added = all.emplace_back();
  added.*member = value;
  return added;
}

/// What results.json says about the model it is of; empty where it says nothing.
struct ResultOrigin {
  std::string folder = {}, type = {}, attn_logits_scaling = {}, commit = {};
  bool operator==(const ResultOrigin&) const = default;
};

constexpr int64_t kUnknown = -1;

/// All that was measured of one model, under the name that a report gives it.
struct ModelResults {
  std::string name = {};
  // Of groups too; `of` tells their members. shots and count: kUnknown where the file is silent; a
  // metric that is null is not a number.
  std::vector<TaskResult> tasks = {};
  std::vector<NeedleGrid> grids = {};  // the first of a file is the model's own, and has its name
  std::vector<ResultOrigin> origins = {};
};

/// Whose measurements are taken of a conversion's results.json (halo/results.h), which has both.
enum class ConversionSide { kStudent, kTeacher };

bool is_conversion(const Json& json);

/// Merges results.json files (eval/results.h; a conversion's; the harness's own have the same
/// shape, but for RULER, whose metrics are lengths: "4096,none" of niah_single_1 becomes the task
/// niah_single_1/4096, -1 none). Throws Error for a task, or a needle grid of the same prompts,
/// that is in two of them.
ModelResults read_model_results(const std::string& name, std::span<const ResultFile> files,
                                ConversionSide side = ConversionSide::kStudent);

/// What `hypenet compare --json` wrote of a teacher and a student.
struct ModelComparison {
  std::string name = {};                          // of the student
  std::string teacher = {};                       // its folder's name
  ResultOrigin of_student = {}, of_teacher = {};  // folder and attn_logits_scaling
  std::string text = {};                          // which both read
  int64_t windows = 0;
  std::vector<PositionComparison> positions = {};
};
ModelComparison read_comparison(const std::string& name, const ResultFile& file);

/// A point of `hypenet bench decode --json`.
struct DecodeSpeed {
  std::string shape = {};
  int64_t context = 0;
  double ms = 0;
  double cache_bytes = 0;  // keys, values and states of one sequence
};

/// Throws Error for a shape and context that come twice, and for the points of `bench prefill`,
/// which have no cache_bytes.
std::vector<DecodeSpeed> read_decode_speeds(std::span<const ResultFile> files);

/// One stage of a training run (train/metrics_log.h).
struct TrainingCurve {
  std::string name = {}, stage = {};
  int64_t steps = 0;  // of the whole stage
  std::vector<double> step = {}, loss = {};
  double tokens_per_second = 0;  // as last reported
};

/// The stages of a metrics.jsonl with this text; part of a line at its end, which a killed run
/// leaves, is passed over.
std::vector<TrainingCurve> read_training(const std::string& name, const std::string& place,
                                         const std::string& text);

}  // namespace hypenet
