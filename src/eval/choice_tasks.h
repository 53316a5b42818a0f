// The multiple-choice tasks arc_easy, arc_challenge, hellaswag, piqa, winogrande and openbookqa
// (specification "evaluation", 3).
#pragma once

#include <vector>

#include "eval/choice_task.h"

namespace hypenet {

std::vector<ChoiceTask> choice_tasks();

}  // namespace hypenet
