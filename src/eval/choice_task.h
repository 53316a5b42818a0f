// What multiple-choice tasks share: documents with choices into requests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/data_files.h"
#include "eval/few_shot.h"
#include "eval/task.h"

namespace hypenet {

/// A question and its choices. With an `ending` (winogrande) the choices are contexts, each with
/// the same continuation; `question` is then empty.
struct ChoiceDocument {
  std::string id = {};  // empty: its number, from 0
  std::string question = {};
  std::vector<std::string> choices = {};
  std::string ending = {};
  std::string delimiter = " ";  // before each choice, or before the ending
  int64_t gold = -1;
};

/// A task as a table has it.
struct ChoiceTask {
  TaskName name = {};
  const Scoring* scoring = &Scoring::kMultipleChoice;
  DataFiles test = {}, examples = {};
  std::function<ChoiceDocument(const Json& record)> read = {};
  ExampleDraw draw = ExampleDraw::kRandom;
  int64_t shots = 0;             // unless the options say otherwise
  std::string description = {};  // before the first example
};

/// The document's requests: each choice after the context, or the ending after each choice, with
/// the delimiter between.
TaskItem choice_item(const ChoiceDocument& document, const std::string& context_before = {});

/// Reads the data and makes the requests. Throws Error as load_tasks does.
Task load_choice_task(const ChoiceTask& definition, const TaskOptions& options);

}  // namespace hypenet
