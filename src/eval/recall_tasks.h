// Recall from a document: fda, swde and squad_completion, as lm-evaluation-harness has them
// (version 0 until its 0.4.12, version 1 later).
#pragma once

#include <string_view>
#include <vector>

#include "eval/task.h"

namespace hypenet {

std::vector<TaskName> recall_task_names();

/// In options.version: 0 takes prompt and answer as they are, 1 without the white space around
/// them. Takes no examples, whatever options.shots says. Throws Error as load_tasks does.
Task load_recall_task(std::string_view name, const TaskOptions& options);

}  // namespace hypenet
