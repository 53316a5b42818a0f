// RULER's thirteen tasks (specification "evaluation", 5 and 6), made for a tokenizer and a length.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace hypenet {

/// The names, in RULER's order: niah_single_1 ... ruler_qa_hotpot.
const std::vector<std::string>& ruler_task_names();

/// A task a length of options.lengths, named "niah_single_1/4096". Data: word lists are built in;
/// essays, SQuAD and Hotpot come from options.data. Throws Error as load_tasks does, and for a
/// length that holds no sample.
std::vector<Task> load_ruler_task(std::string_view name, const TaskOptions& options);

}  // namespace hypenet
