// hypenet tokenize: the token ids of a text, and the text of ids.
#include <charconv>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/commands.h"
#include "text/tokenizer.h"

namespace hypenet {
namespace {

struct TokenizeCommand {
  std::filesystem::path folder;
  std::optional<std::string> text, ids;
  std::optional<std::filesystem::path> file;
  bool json = false;
};

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string digits;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    digits += {kDigits[value / 16], kDigits[value % 16]};
  }
  return digits;
}

/// The token in quotes, so that white space shows; bytes that are no text of their own as hex.
std::string shown(const Tokenizer& tokenizer, int32_t id) {
  const std::string text = tokenizer.decode(std::vector{id});
  const std::string_view bytes = tokenizer.token_bytes(id);
  return text == bytes ? Json(text).dump() : "<" + hex(bytes) + ">";
}

std::string input_text(const TokenizeCommand& command) {
  if (command.text) return *command.text;
  if (command.file) return read_file(*command.file);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

void show_ids(const TokenizeCommand& command, const Tokenizer& tokenizer) {
  for (const int32_t id : tokenizer.encode(input_text(command))) {
    if (command.json) {
      const Json row = {{"id", id},
                        {"text", tokenizer.decode(std::vector{id})},
                        {"bytes", hex(tokenizer.token_bytes(id))},
                        {"special", tokenizer.is_special(id)}};
      std::cout << row.dump() << '\n';
    } else {
      std::cout << id << '\t' << shown(tokenizer, id) << '\n';
    }
  }
}

/// Numbers with commas or white space between.
std::vector<int32_t> parse_ids(const std::string& list, int64_t vocab_size) {
  constexpr std::string_view kBetween = ", \t\r\n";
  std::vector<int32_t> ids;
  for (size_t at = 0; (at = list.find_first_not_of(kBetween, at)) != std::string::npos;) {
    const size_t end = std::min(list.find_first_of(kBetween, at), list.size());
    int32_t id = -1;
    const auto [stop, error] = std::from_chars(list.data() + at, list.data() + end, id);
    HYPENET_CHECK(error == std::errc() && stop == list.data() + end && id >= 0 && id < vocab_size,
                  "--decode: expected ids from 0 to ", vocab_size - 1, ", found ",
                  list.substr(at, end - at));
    ids.push_back(id);
    at = end;
  }
  return ids;
}

void run_tokenize(const TokenizeCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.folder);
  if (!command.ids) return show_ids(command, tokenizer);
  const std::string text = tokenizer.decode(parse_ids(*command.ids, tokenizer.vocab_size()));
  std::cout << (command.json ? Json{{"text", text}}.dump() : text) << '\n';
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  const auto options = std::make_shared<TokenizeCommand>();
  CLI::App* command =
      app.add_subcommand("tokenize", "show the token ids of a text, or the text of ids");
  command->add_option("DIR", options->folder, "folder with tokenizer.json, or a GGUF file")
      ->required();
  auto* text = command->add_option("--text", options->text, "the text");
  auto* file =
      command->add_option("--file", options->file, "a file with the text; else standard input");
  auto* ids = command->add_option("--decode", options->ids, "ids to show as text: 1,2,3");
  text->excludes(file);
  ids->excludes(text)->excludes(file);
  command->add_flag("--json", options->json, "an object a line");
  command->footer("Example:\n  hypenet tokenize out/tiny/model --text \"The sun\"");
  command->callback([options] { run_tokenize(*options); });
}

}  // namespace hypenet
