// hypenet generate: continues one prompt, text as it comes, or many side by side.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/generate_corpus.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/length_warning.h"
#include "cli/model_folder.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "cli/prompts.h"
#include "engine/engine.h"

namespace hypenet {
namespace {

constexpr int64_t kSideBySide = 16, kDefaultTokens = 128;

struct GenerateCommand {
  ModelOptions model{.folder = {}, .type = kAutomaticType, .device = {}};
  std::optional<std::string> prompt;
  std::optional<std::filesystem::path> prompt_file;
  std::optional<int64_t> tokens;
  SamplingFlags sampling;
  MemoryFlags memory;
  bool json = false;
  CorpusFlags corpus;
};

std::vector<std::string> read_prompts(const GenerateCommand& command) {
  if (command.prompt_file) return read_prompt_lines(*command.prompt_file);
  HYPENET_CHECK(command.prompt,
                "generate: expected --prompt TEXT, --prompt-file FILE (\"-\" is a "
                "pipe) or --corpus FILE, found none");
  return {read_prompt(*command.prompt)};
}

GenerateOptions generate_options(const GenerateCommand& command) {
  GenerateOptions options;
  options.max_tokens = command.tokens.value_or(kDefaultTokens);
  options.sampling = sampling_options(command.sampling, SamplingOptions());
  return options;
}

/// All requests side by side; its progress is shown where there are several.
std::vector<Completion> run(Engine& engine, const std::vector<Request>& requests) {
  Progress progress;
  int64_t tokens = 0;
  const auto text = [&] {
    return fmt::format("generate: {} tokens of {} answers", with_commas(tokens), requests.size());
  };
  const auto& interrupted = interrupt_flag();
  auto completions = engine.generate(
      requests,
      [&](size_t, int32_t) {
        ++tokens;
        if (requests.size() > 1) progress.show(text());
        return true;
      },
      [&] { return interrupted.load(); });
  if (requests.size() > 1) progress.finish(text());
  return completions;
}

Json describe(const std::string& prompt, const Request& request, const Completion& completion,
              const Tokenizer& tokenizer) {
  return {{"prompt", prompt},
          {"text", tokenizer.decode(completion.ids, true)},
          {"ids", completion.ids},
          {"logprobs", completion.logprobs},
          {"finish_reason", to_string(completion.finish)},
          {"prompt_tokens", request.prompt.size()},
          {"tokens", completion.ids.size()}};
}

void generate_together(Engine& engine, const Tokenizer& tokenizer,
                       const std::vector<std::string>& prompts,
                       const std::vector<Request>& requests, bool json,
                       const std::function<void(const Request&, FinishReason)>& told) {
  const auto start = std::chrono::steady_clock::now();
  const auto completions = run(engine, requests);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  size_t tokens = 0;
  for (const Completion& completion : completions) tokens += completion.ids.size();
  for (size_t i = 0; i < prompts.size(); ++i) {
    told(requests[i], completions[i].finish);
    if (!json) {
      std::cout << tokenizer.decode(completions[i].ids, true) << '\n';
      continue;
    }
    Json line = describe(prompts[i], requests[i], completions[i], tokenizer);
    line["seconds"] = seconds;
    line["tokens_per_second"] = static_cast<double>(tokens) / seconds;
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  std::cout.flush();
}

/// What each prompt asks the engine for. Each answer's tokens are what `options` say, or what is
/// left of the context.
std::vector<Request> make_requests(Engine& engine, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts,
                                   const GenerateOptions& options, const MemoryFlags& memory) {
  std::vector<Request> requests;
  requests.reserve(prompts.size());
  int64_t longest = 0;
  for (const std::string& prompt : prompts) {
    Request request{tokenizer.encode(prompt), options};
    request.options.max_tokens = answer_tokens(
        engine, memory, static_cast<int64_t>(request.prompt.size()), options.max_tokens);
    longest =
        std::max(longest, static_cast<int64_t>(request.prompt.size()) + request.options.max_tokens);
    requests.push_back(std::move(request));
  }
  warn_of_length("prompt and --tokens", longest, engine.config());
  return requests;
}

/// Says which answers the end of the context cut short.
void note_cut(Engine& engine, const MemoryFlags& memory, int64_t cut, size_t all) {
  if (cut == 0) return;
  std::cerr << "hypenet: "
            << (all == 1 ? "the answer ends" : concat(cut, " of ", all, " answers end"))
            << " before --tokens, at the end of " << what_ends_context(engine, memory) << std::endl;
}

void generate(const GenerateCommand& command) {
  HYPENET_CHECK(command.tokens.value_or(1) > 0, "--tokens: expected at least 1, found ",
                *command.tokens);
  if (!command.corpus.file.empty()) {
    return generate_corpus(command.corpus, {.model = command.model,
                                            .sampling = command.sampling,
                                            .memory = command.memory,
                                            .tokens = command.tokens});
  }
  GenerateOptions options = generate_options(command);
  const std::vector<std::string> prompts = read_prompts(command);
  const EngineOptions memory = engine_options(
      command.memory, std::min<int64_t>(static_cast<int64_t>(prompts.size()), kSideBySide));
  const Checkpoint checkpoint(command.model.folder);
  Engine engine(open_model(command.model, checkpoint), memory);
  const Tokenizer tokenizer = open_tokenizer(command.model.folder, engine.config());
  options.stop_ids = stop_ids(checkpoint, tokenizer);
  const auto requests = make_requests(engine, tokenizer, prompts, options, command.memory);
  int64_t cut = 0;
  const auto count_cut = [&](const Request& request, FinishReason finish) {
    const bool is_short = request.options.max_tokens < options.max_tokens;
    cut += is_short && finish == FinishReason::kLength ? 1 : 0;
  };
  if (prompts.size() == 1 && !command.json) {
    StreamedAnswer answer(engine, tokenizer, requests[0]);
    count_cut(requests[0], answer.run(interrupt_flag()).finish);
    std::cout << std::endl;
  } else {
    generate_together(engine, tokenizer, prompts, requests, command.json, count_cut);
  }
  note_cut(engine, command.memory, cut, prompts.size());
  throw_if_interrupted();
}

}  // namespace

void add_generate_command(CLI::App& app) {
  const auto options = std::make_shared<GenerateCommand>();
  CLI::App* command = app.add_subcommand("generate", "continue a prompt, or many side by side");
  add_model_options(*command, options->model);
  CLI::Option* prompt = command->add_option("--prompt", options->prompt,
                                            "text to continue; \"-\": all of standard input");
  CLI::Option* prompt_file =
      command
          ->add_option("--prompt-file", options->prompt_file,
                       "a prompt a line; .jsonl: objects with a text prompt; \"-\": standard "
                       "input")
          ->excludes(prompt);
  command->add_option("--tokens", options->tokens,
                      "tokens of an answer at most (128; with --corpus 512)");
  add_sampling_options(*command, options->sampling);
  add_memory_options(*command, options->memory);
  CLI::Option* json = command->add_flag(
      "--json", options->json, "print a JSON object a prompt: text, ids, log-probabilities, speed");
  add_corpus_options(*command, options->corpus)
      ->excludes(prompt)
      ->excludes(prompt_file)
      ->excludes(json);
  command->footer(
      "Examples:\n  hypenet generate out/tiny/model --prompt \"The sun\" --tokens 40 "
      "--temperature 0.8\n  hypenet generate teacher --corpus sampled.jsonl.gz --text "
      "train.jsonl.gz "
      "--corpus-tokens 20000000 --device cuda");
  command->callback([options] { generate(*options); });
}

}  // namespace hypenet
