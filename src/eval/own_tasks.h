// A task out of a file of the user's own items.
#pragma once

#include <string_view>

#include "eval/task.h"

namespace hypenet {

/// Whether a task's name is the path of such a file: .jsonl or .jsonl.gz.
bool is_own_task(std::string_view name);

/// Items of one of two kinds, an object a line: {"context", "choices", "answer": place of the right
/// choice, from 0}, scored acc and acc_norm, each choice right after the context, or after
/// "target_delimiter" where an item has one (the harness's key; its default is a space); or
/// {"context", "answer": text or "answers": [texts] and, if wanted, "until": [texts],
/// "max_tokens"}, scored contains (any answer; by default a line of at most 48 tokens). "id" may
/// name an item. Takes no examples. Throws Error with file and line for other fields and for kinds
/// that are mixed.
Task load_own_task(std::string_view path, const TaskOptions& options);

}  // namespace hypenet
