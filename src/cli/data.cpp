// hypenet data tokenize: text files into token shards.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/note.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "data/documents.h"
#include "data/token_shard.h"

namespace hypenet {
namespace {

struct TokenizeCommand {
  std::filesystem::path tokenizer, out;
  std::string on_bad = "skip";
  TokenizeOptions options;
  std::vector<std::filesystem::path> paths;
};

std::string describe(const TokenizeProgress& done, double seconds) {
  return fmt::format("{} documents, {} tokens, {} of text, {} tokens/s",
                     with_commas(done.documents), with_commas(done.tokens),
                     readable_bytes(done.bytes),
                     with_commas(static_cast<int64_t>(static_cast<double>(done.tokens) /
                                                      std::max(seconds, 1e-3))));
}

void tokenize(const TokenizeCommand& command) {
  HYPENET_CHECK(command.options.max_tokens >= 0, "--max-tokens: expected 0 (all) or more, found ",
                command.options.max_tokens);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  TokenizeOptions options = command.options;
  options.on_bad = parse_on_bad_document(command.on_bad, "--on-bad-document");
  const auto files = document_files(command.paths, print_note);
  const Tokenizer tokenizer = Tokenizer::load(command.tokenizer);
  Progress progress;
  const auto report = [&](const TokenizeProgress& done) {
    throw_if_interrupted();
    progress.show("tokenize: " + describe(done, seconds()));
  };
  const auto done = tokenize_corpus(files, tokenizer, command.out, options, report);
  progress.finish("tokenize: " + describe(done, seconds()));
  if (done.bad.bad() > 0) print_note(done.bad.summary());
  std::cout << command.out.string() << '\n';
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "prepare training text");
  data->require_subcommand(1);
  constexpr const char* kExample =
      "Example:\n  hypenet data tokenize --tokenizer teacher --out tokens text.jsonl.gz more.txt";
  data->footer(kExample);
  const auto options = std::make_shared<TokenizeCommand>();
  CLI::App* command = data->add_subcommand(
      "tokenize", "turn text files into token shards, documents joined by EOS");
  command
      ->add_option("--tokenizer", options->tokenizer, "folder with tokenizer.json, or a GGUF file")
      ->required();
  command->add_option("--out", options->out, "folder to write")->required();
  command->add_option("--text-field", options->options.text_field, "JSON field or Parquet column")
      ->capture_default_str();
  command->add_option("--max-tokens", options->options.max_tokens, "stop after so many (0: all)")
      ->capture_default_str();
  command
      ->add_option("--on-bad-document", options->on_bad,
                   "a document that cannot be read: skip (and count), or fail")
      ->check(CLI::IsMember({"skip", "fail"}))
      ->capture_default_str();
  command
      ->add_option("PATHS", options->paths, "files or folders: .txt, .jsonl (also .gz) or .parquet")
      ->required();
  command->footer(kExample);
  command->callback([options] { tokenize(*options); });
}

}  // namespace hypenet
