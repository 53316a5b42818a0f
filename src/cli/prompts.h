// The prompts that `generate` continues: one, or a file or pipe of them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// --prompt's text; "-": all of standard input but one line end at its end. Throws Error for an
/// empty one.
std::string read_prompt(const std::string& prompt);

/// The lines of a file or, for "-", of standard input: a prompt each, or JSON objects whose text
/// `prompt` is one. JSON is read in a file named .jsonl, and from standard input when the first
/// line is such an object. Throws Error naming file and line for an empty line, a prompt without
/// text, JSON that is none, and for no lines at all.
std::vector<std::string> read_prompt_lines(const std::filesystem::path& file);

/// The prompts of such a text; `place` names it in errors.
std::vector<std::string> prompts_of_lines(std::string_view text, const std::string& place,
                                          bool is_json);

}  // namespace hypenet
