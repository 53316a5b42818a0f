// hypenet generate: continues a prompt, text as it comes.
#include <cmath>
#include <iostream>
#include <memory>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_folder.h"
#include "engine/engine.h"
#include "halo/run.h"

namespace hypenet {
namespace {

struct GenerateCommand {
  ModelOptions model;
  std::string prompt;
  GenerateOptions options;
};

void generate(const GenerateCommand& command) {
  GenerateOptions options = command.options;
  HYPENET_CHECK(options.max_tokens > 0, "--tokens: expected at least 1, found ",
                options.max_tokens);
  const double temperature = options.sampling.temperature;
  HYPENET_CHECK(temperature >= 0 && std::isfinite(temperature),
                "--temperature: expected 0 or more, found ", temperature);
  const Checkpoint checkpoint(command.model.folder);
  Engine engine(open_model(command.model, checkpoint));
  const Tokenizer tokenizer = open_tokenizer(command.model.folder, engine.config());
  const std::vector<int32_t> prompt = tokenizer.encode(command.prompt);
  HYPENET_CHECK(!prompt.empty(), "--prompt: expected some text, found none");
  options.stop_ids = stop_ids(checkpoint, tokenizer);

  StreamDecoder decoder(tokenizer);
  const auto& interrupted = interrupt_flag();
  engine.generate(prompt, options, [&](int32_t id) {
    std::cout << decoder.push(id) << std::flush;
    return !interrupted && std::cout.good();
  });
  std::cout << decoder.finish() << std::endl;
  throw_if_interrupted();
}

}  // namespace

void add_generate_command(CLI::App& app) {
  const auto options = std::make_shared<GenerateCommand>();
  CLI::App* command = app.add_subcommand("generate", "continue a prompt");
  add_model_options(*command, options->model);
  command->add_option("--prompt", options->prompt, "text to continue")->required();
  command->add_option("--tokens", options->options.max_tokens, "tokens at most")
      ->capture_default_str();
  command
      ->add_option("--temperature", options->options.sampling.temperature,
                   "0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--seed", options->options.sampling.seed, "of the random choice")
      ->capture_default_str();
  command->footer(
      "Example:\n  hypenet generate out/tiny/model --prompt \"The sun\" --tokens 40 "
      "--temperature 0.8");
  command->callback([options] { generate(*options); });
}

}  // namespace hypenet
