// A task: documents turned into requests (docs/evaluation.md, "Tasks").
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/request.h"
#include "eval/scoring.h"
#include "text/tokenizer.h"

namespace hypenet {

/// One document. Which members are used depends on the scoring.
struct TaskItem {
  std::string id = {};  // as the data names it, or its number
  std::vector<EvalRequest> requests = {};
  int64_t gold = -1;                  // place of the right choice
  std::vector<int64_t> lengths = {};  // code points of each choice, without the delimiter
  std::vector<std::string> references = {};
  int64_t words = 0, bytes = 0;  // of the original page (kTextPerplexity)
};

/// A task that is ready to run.
struct Task {
  std::string name = {};   // "arc_easy", "mmlu_astronomy", "niah_single_1/4096"
  std::string group = {};  // "mmlu", "ruler", or empty
  int64_t version = 0;     // the harness's
  int64_t shots = 0;
  const Scoring* scoring = &Scoring::kMultipleChoice;
  std::vector<TaskItem> items = {};
};

/// What tasks are made from.
struct TaskOptions {
  std::vector<std::filesystem::path> data = {};  // folders that are searched in turn (--data-dir)
  int64_t limit = 0;                             // items of a task at most, the first ones; 0: all
  std::optional<int64_t> shots = {};             // nullopt: the task's own number (0; mmlu 5)
  int64_t version = 0;                           // of fda, swde and squad_completion: 0 or 1
  std::vector<int64_t> lengths = {4096};         // of RULER tasks, tokens
  int64_t samples = 500;                         // of a RULER task and length
  uint64_t seed = 42;                            // of RULER's samples
  bool ruler_as_harness = false;  // RULER with the harness's sizes and texts, not RULER's own
  const Tokenizer* tokenizer = nullptr;  // measures RULER's prompts
};

/// Tasks by name, groups ("mmlu", "ruler") as all of theirs. Throws Error for an unknown name (with
/// the known ones), a missing data file (which file, in which folders, where to get it), and
/// impossible options.
std::vector<Task> load_tasks(std::span<const std::string> names, const TaskOptions& options);

/// A name that load_tasks knows, and what it is, one line.
struct TaskName {
  std::string name, about;
};
std::vector<TaskName> known_tasks();

}  // namespace hypenet
