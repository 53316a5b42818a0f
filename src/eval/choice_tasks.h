// The multiple-choice tasks arc_easy, arc_challenge, hellaswag, piqa, winogrande and openbookqa, as
// lm-evaluation-harness 0.4.9.1 has them.
#pragma once

#include <vector>

#include "eval/choice_task.h"

namespace hypenet {

std::vector<ChoiceTask> choice_tasks();

}  // namespace hypenet
