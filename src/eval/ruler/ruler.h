// RULER's thirteen tasks, made for a tokenizer and a length, drawn as NVIDIA's scripts draw them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace hypenet {

/// The names, in RULER's order: niah_single_1 ... ruler_qa_hotpot.
const std::vector<std::string>& ruler_task_names();

/// A task a length of options.lengths, named "niah_single_1/4096". RULER's own rule draws the very
/// samples that its scripts draw with the same seed; options.ruler_as_harness takes the harness's
/// sizes and texts, whose samples nobody can draw again. Word lists are built in; essays (with
/// NLTK's Punkt parameters for English), SQuAD, HotpotQA and, for ruler_cwe beyond about 128K,
/// RULER's english_words.json come from options.data. Throws Error as load_tasks does, and for a
/// length that holds no sample. Cost: some twenty prompts of the length are drawn and counted, then
/// one a sample; at 1M tokens a few seconds, then half a second each.
std::vector<Task> load_ruler_task(std::string_view name, const TaskOptions& options);

}  // namespace hypenet
