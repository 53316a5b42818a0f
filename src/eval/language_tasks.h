// Tasks on running text: lambada_openai, lambada_standard (the last word of a passage) and
// wikitext, as lm-evaluation-harness 0.4.9.1 has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace hypenet {

std::vector<TaskName> language_task_names();

/// Throws Error as load_tasks does. wikitext takes no examples, whatever options.shots says.
Task load_language_task(std::string_view name, const TaskOptions& options);

/// A page of WikiText as running text: the data set's spaces around punctuation undone.
std::string undo_wikitext_tokens(std::string_view page);

/// The pages of a raw WikiText file: each begins at a heading of the first level.
std::vector<std::string> split_wikitext_pages(std::string_view text);

}  // namespace hypenet
