// hypenet sweep: the score of every layer, replaced by its aligned twin.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/recipe_options.h"
#include "halo/pipeline.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Example, and how to go on:
  hypenet sweep teacher --aligned out/tiny/2-align --data held-out.txt --scores scores.csv
  hypenet select --scores scores.csv --table)";

struct SweepCommand {
  SweepJob job;
  std::vector<std::string> data;
  SweepConfig config;
  int64_t seed = 0;
  DeviceOptions device;
};

void run(const SweepCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.job.teacher);
  RunProgress progress;
  RunOptions options;
  options.device = use_device(command.device);
  options.observer = &progress;
  options.stop = &interrupt_flag();
  const Corpus corpus{nullptr, read_held_out(command.data, "text", tokenizer)};
  sweep_checkpoints(command.job, command.config, corpus, static_cast<uint64_t>(command.seed),
                    options);
  std::cout << command.job.scores.string() << '\n';
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("sweep", "score each layer of a teacher, replaced by its aligned twin");
  const auto options = std::make_shared<SweepCommand>();
  command->add_option("teacher", options->job.teacher, "model folder of the teacher")->required();
  command->add_option("--aligned", options->job.aligned, "model folder of the twins (stage 1's)")
      ->required();
  command->add_option("--data", options->data, "held-out text: files or folders")->required();
  command->add_option("--scores", options->job.scores, "CSV file to write")->required();
  command->add_option("--context", options->config.context, "tokens of a prompt or window")
      ->capture_default_str();
  command->add_option("--needles", options->config.needles, "facts hidden in a prompt")
      ->capture_default_str();
  command->add_option("--prompts", options->config.prompts, "recall prompts")
      ->capture_default_str();
  command->add_option("--windows", options->config.windows, "text windows")->capture_default_str();
  command->add_option("--seed", options->seed, "of the prompts")->capture_default_str();
  add_device_options(*command, options->device);
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
