// Standard input is read to its end before the model is opened: a pipe that brings nothing is told
// at once.
#include "cli/prompts.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/line_reader.h"

namespace hypenet {
namespace {

constexpr const char* kPipe = "-";
constexpr const char* kPipeName = "standard input";

std::string read_standard_input() {
  std::string text, bytes;
  do text += bytes = read_ready(STDIN_FILENO);
  while (!bytes.empty());
  return text;
}

std::string without_line_end(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

std::string prompt_of(const std::string& line, const std::string& place) {
  const Json json = parse_json(line, place);
  HYPENET_CHECK(json.is_object(), place, ": expected an object with a text prompt, found ",
                json_kind(json));
  HYPENET_CHECK(json.contains("prompt"), place, ": expected a text prompt, found none");
  const Json& prompt = json.at("prompt");
  HYPENET_CHECK(prompt.is_string(), place, ": prompt: expected a string, found ",
                json_kind(prompt));
  return prompt.get<std::string>();
}

/// Whether the first line is an object with a text "prompt".
bool begins_with_json(std::string_view text) {
  if (!text.starts_with('{')) return false;
  const Json json = Json::parse(text.substr(0, text.find('\n')), nullptr, false);
  return json.is_object() && json.contains("prompt") && json.at("prompt").is_string();
}

}  // namespace

std::string read_prompt(const std::string& prompt) {
  const bool is_pipe = prompt == kPipe;
  const std::string text = is_pipe ? without_line_end(read_standard_input()) : prompt;
  HYPENET_CHECK(!text.empty(), is_pipe ? kPipeName : "--prompt",
                ": expected some text, found none");
  return text;
}

std::vector<std::string> prompts_of_lines(std::string_view text, const std::string& place,
                                          bool is_json) {
  std::vector<std::string> prompts;
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line_place = concat(place, ":", prompts.size() + 1);
    std::string line = without_line_end(std::string(text.substr(at, end - at)));
    HYPENET_CHECK(!line.empty(), line_place, ": expected a prompt, found an empty line");
    if (is_json) line = prompt_of(line, line_place);
    HYPENET_CHECK(!line.empty(), line_place, ": prompt: expected some text, found none");
    prompts.push_back(std::move(line));
    at = end + 1;
  }
  HYPENET_CHECK(!prompts.empty(), place, ": expected a prompt a line, found none");
  return prompts;
}

std::vector<std::string> read_prompt_lines(const std::filesystem::path& file) {
  if (file != kPipe) {
    return prompts_of_lines(read_file(file), file.string(), file.extension() == ".jsonl");
  }
  const std::string text = read_standard_input();
  return prompts_of_lines(text, kPipeName, begins_with_json(text));
}

}  // namespace hypenet
