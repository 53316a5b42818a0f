// hypenet logits: the model's logits for given token ids or a text, for comparing with other
// implementations.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/length_warning.h"
#include "cli/model_folder.h"
#include "cli/prompts.h"
#include "store/safetensors.h"

namespace hypenet {
namespace {

struct LogitsCommand {
  ModelOptions model;
  std::optional<std::string> ids, prompt;
  std::filesystem::path out;
};

/// "1,2,3", with blanks in place of the commas or beside them, in brackets or not.
std::vector<int64_t> parse_ids(std::string_view text) {
  const auto complain = [&](bool is_good) {
    HYPENET_CHECK(is_good, "--ids: expected token ids separated by commas, found \"", text, "\"");
  };
  std::string_view rest = text;
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  const auto skip_blanks = [&] {
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t\n"), rest.size()));
  };
  std::vector<int64_t> ids;
  for (bool is_more = true; is_more;) {
    int64_t id = 0;
    skip_blanks();
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), id);
    complain(error == std::errc());
    ids.push_back(id);
    rest.remove_prefix(static_cast<size_t>(stop - rest.data()));
    const size_t before = rest.size();
    skip_blanks();
    const bool has_comma = rest.starts_with(',');
    complain(rest.empty() || has_comma || rest.size() < before);
    if (has_comma) rest.remove_prefix(1);
    is_more = has_comma || !rest.empty();
  }
  return ids;
}

std::vector<int64_t> ids_of(const LogitsCommand& command, const ModelConfig& config) {
  HYPENET_CHECK(command.ids || command.prompt,
                "logits: expected --ids 1,2,3 or --prompt TEXT, found neither");
  if (command.prompt) {
    const std::string text = read_prompt(*command.prompt);
    const auto ids = open_tokenizer(command.model.folder, config).encode(text);
    return {ids.begin(), ids.end()};
  }
  const std::vector<int64_t> ids = parse_ids(*command.ids);
  for (const int64_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < config.vocab_size, "--ids: expected ids from 0 to ",
                  config.vocab_size - 1, ", found ", id);
  }
  return ids;
}

void write_logits(const LogitsCommand& command) {
  const Checkpoint checkpoint(command.model.folder);
  const std::vector<int64_t> ids = ids_of(command, open_config(command.model, checkpoint));
  check_writable(command.out);
  CausalLm model = open_model(command.model, checkpoint);
  warn_of_length(command.prompt ? "--prompt" : "--ids", std::ssize(ids), model->config());
  const torch::NoGradGuard no_grad;
  model->eval();
  const Tensor tokens = torch::tensor(ids, torch::kInt64).unsqueeze(0);  // [1, T]
  const Tensor logits = model->forward(tokens.to(model->head_weight().device()));
  write_safetensors(command.out, {{"logits", logits[0].to(torch::kFloat32)}});
  if (is_stream(command.out)) return;  // which may be where this would go
  constexpr size_t kFew = 64;
  std::cout << fmt::format(
      "{}: logits [{}, {}], float32{}\n", command.out.string(), ids.size(), logits.size(2),
      ids.size() > kFew ? "" : fmt::format(", of the ids {}", fmt::join(ids, ",")));
}

}  // namespace

void add_logits_command(CLI::App& app) {
  const auto options = std::make_shared<LogitsCommand>();
  CLI::App* command =
      app.add_subcommand("logits", "write the logits of token ids, or of a text, to a file");
  add_model_options(*command, options->model);
  CLI::Option* ids = command->add_option("--ids", options->ids, "token ids: 1,2,3");
  command
      ->add_option("--prompt", options->prompt,
                   "text, in place of its ids; \"-\": all of standard input")
      ->excludes(ids);
  command->add_option("--out", options->out, "file to write: tensor logits [T, V], float32")
      ->required();
  command->footer(
      "Examples:\n  hypenet logits models/tiny-teacher --prompt \"The sun\" --out "
      "logits.safetensors\n  hypenet logits models/tiny-teacher --ids 1,2,3 --out "
      "logits.safetensors");
  command->callback([options] { write_logits(*options); });
}

}  // namespace hypenet
