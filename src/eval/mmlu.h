// MMLU: 57 subjects of four choices each, five solved examples, as lm-evaluation-harness 0.4.9.1
// has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/choice_task.h"

namespace hypenet {

/// "mmlu_astronomy" and the like, one a subject.
std::vector<ChoiceTask> mmlu_tasks();

/// The tasks of a group: "mmlu" (all), "mmlu_stem", "mmlu_humanities", "mmlu_social_sciences",
/// "mmlu_other"; of another name none.
std::vector<std::string> mmlu_group(std::string_view name);

/// The groups themselves.
std::vector<TaskName> mmlu_group_names();

}  // namespace hypenet
