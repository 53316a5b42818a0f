// What the parts of `hypenet eval` share: its flags, and what each part adds to the results.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/measured_model.h"
#include "cli/ranks.h"
#include "cli/task_options.h"
#include "eval/needle_grid.h"
#include "eval/results.h"
#include "eval/task.h"

namespace hypenet {

/// The measures of eval/measures.h and the needle grid, by their names among tasks.
inline constexpr const char* kTextTask = "text";
inline constexpr const char* kRecallTask = "recall";
inline constexpr const char* kNeedleGridTask = "needle-grid";

struct EvalCommand {
  MeasureOptions measure;
  RankOptions ranks = {};
  std::vector<std::string> tasks = {};
  bool lists_tasks = false;
  std::vector<std::filesystem::path> data = {};
  std::optional<int64_t> limit = {}, shots = {}, samples = {}, max_length = {}, seed = {};
  std::string batch = "auto", ll_dtype = "float32";
  std::vector<int64_t> lengths = {4096};
  int64_t task_version = 0;
  std::string ruler_rule = "ruler";
  std::optional<std::filesystem::path> out = {}, log_samples = {};

  std::vector<std::string> text = {};
  std::string text_field = "text";
  int64_t context = 512, windows = 64;  // text
  std::vector<int64_t> contexts = {};   // recall and needle-grid; empty: their own
  int64_t needles = 4, prompts = 48;    // recall
  int64_t depths = 10;                  // needle-grid
  std::string needle = "essays";
  std::optional<std::filesystem::path> compare_with = {}, plot = {};

  bool has(const std::string& task) const;
  bool has_text_measures() const { return has(kTextTask) || has(kRecallTask); }
  /// Whether there are requests, whose answers a journal keeps: of all tasks but text and recall.
  bool has_requests() const;
};

/// Adds every flag but those of the model.
void add_eval_options(CLI::App& command, EvalCommand& options);

/// Which tasks read which flags. `max_length` and `text_tokens` are recorded as they turned out.
std::vector<TaskOption> eval_task_options(const EvalCommand& command, int64_t max_length,
                                          int64_t text_tokens);

/// A model folder's tokenizer and files, before its weights are read.
struct OpenFolder {
  explicit OpenFolder(const std::filesystem::path& folder);

  Checkpoint checkpoint;
  ModelConfig config;
  Tokenizer tokenizer;
};

/// Throws Error for prompts longer than --max-length; they would lose their beginning.
void check_reads(const char* flag, const std::vector<int64_t>& lengths, const EvalCommand& command);

/// The lengths of the needle grid's prompts.
std::vector<int64_t> grid_contexts(const EvalCommand& command);

/// A warning where a flag asks for more tokens than the model was made for: of that of the most.
void warn_of_lengths(const EvalCommand& command, const ModelConfig& config);

/// Throws Error for text that is too short, and for recall prompts that cannot be made.
void check_text_measures(const EvalCommand& command, const std::vector<int32_t>& text,
                         const Tokenizer& tokenizer);

/// The tasks with requests, from their data files; throws Error for RULER lengths beyond
/// --max-length, and for answers that leave no room for their prompt.
std::vector<Task> load_eval_tasks(const EvalCommand& command, const OpenFolder& folder);

/// A line on standard error for a file of own items all of whose choices join the last word of
/// their context: most likely spaces were forgotten.
void note_joined_words(const std::vector<Task>& tasks);

/// The results of tasks, and the lines of --log-samples.
struct ScoredTasks {
  std::vector<TaskResult> results = {};
  std::string samples = {};
};
ScoredTasks run_eval_tasks(const EvalCommand& command, const std::vector<Task>& tasks,
                           MeasuredModel& model);

/// The tasks "text" and "recall" on held-out text, as the recipes measure them.
std::vector<TaskResult> run_text_measures(const EvalCommand& command,
                                          const std::vector<int32_t>& text,
                                          const Tokenizer& tokenizer, MeasuredModel& model);

/// The prompts of the needle grid; throws Error for contexts beyond --max-length.
NeedlePrompts load_needle_grid(const EvalCommand& command, const OpenFolder& folder,
                               const std::vector<int32_t>& text);

/// The grid of the model, which is then closed, and of --compare-with. On a terminal the grids are
/// in colour.
std::vector<NeedleGrid> run_needle_grids(const EvalCommand& command, const NeedlePrompts& prompts,
                                         std::unique_ptr<MeasuredModel> model);

}  // namespace hypenet
