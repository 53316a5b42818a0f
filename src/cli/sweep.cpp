// hypenet sweep: the score of every layer, replaced by its aligned twin.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/files.h"
#include "cli/commands.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/note.h"
#include "cli/outputs.h"
#include "cli/ranks.h"
#include "cli/recipe_options.h"
#include "cli/task_options.h"
#include "data/held_out.h"
#include "halo/selection.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Examples, and how to go on:
  hypenet sweep teacher --aligned out/tiny/2-align --data held-out.txt --scores scores.csv
  hypenet sweep Qwen3-1.7B --aligned out/2b/2-align --data-dir data --device cuda
      --tasks ruler_qa_squad,fda,swde,arc_easy,arc_challenge,hellaswag --lengths 4096 --ranks all
  hypenet select --scores scores.csv --table

Tasks: recall, text and lazy on the held-out text of --data; all of hypenet eval on --data-dir.
Ctrl-C stops; the same command goes on from there. Finished answers are in <scores>.journal.)";

struct SweepCommand {
  SweepJob job;
  std::vector<std::string> data;
  SweepConfig config;
  std::filesystem::path scores = "scores.csv";
  std::string precision;
  int64_t seed = 0;
  int64_t memory_bytes = 0;
  DeviceOptions device;
  RankOptions ranks;
};

/// Which tasks read which flags.
std::vector<TaskOption> task_options() {
  constexpr TaskKinds kHeldOut = kTextKind | kRecallKind | kLazyKind;
  constexpr const char *kHeldOutTasks = "recall, text and lazy",
                       *kItems = "tasks of items (data sets, RULER and files of own items)";
  return {{"--data", kHeldOut, kHeldOutTasks},
          {"--data-dir", kAnyDataSet, "tasks with a data set"},
          {"--limit", kAnyItems, kItems},
          {"--lengths", kAnyRuler, "RULER's tasks"},
          {"--task-version", kCompletionKind, "fda, swde and squad_completion"},
          {"--likelihoods", kAnyItems & ~kWikitextKind, "tasks of items with a right answer"},
          {"--context", kHeldOut, kHeldOutTasks},
          {"--needles", kRecallKind, "recall"},
          {"--prompts", kRecallKind, "recall"},
          {"--windows", kTextKind | kLazyKind, "text and lazy"},
          {"--seed", kRecallKind, "recall"},
          {"--memory", kAnyGenerated, "tasks whose answers are generated"}};
}

bool reads_text(const SweepConfig& config) {
  return std::any_of(config.tasks.begin(), config.tasks.end(), is_on_held_out);
}

/// What could only fail when the sweep is done.
void check(const CLI::App& app, const SweepCommand& command) {
  HYPENET_CHECK(command.seed >= 0, "--seed: expected 0 or more, found ", command.seed);
  SweepConfig config = command.config;
  if (!command.precision.empty()) config.precision = command.precision;
  check_sweep(config, "sweep");
  parse_device(command.device.device);
  refuse_unread(app, task_options(), config.tasks);
  HYPENET_CHECK(!command.data.empty() || !reads_text(command.config),
                "--data: expected held-out text for the tasks recall, text and lazy, found none");
  check_outputs({{"--scores", command.scores}}, {command.data.begin(), command.data.end()});
}

/// One rank's share; the first one writes the scores.
void sweep(const SweepCommand& command, const RunOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(command.job.teacher);
  SweepConfig config = command.config;
  config.precision = !command.precision.empty() ? command.precision
                     : options.device.is_cuda() ? "bfloat16"
                                                : "float32";
  SweepJob job = command.job;
  job.memory_bytes = command.memory_bytes;
  job.journal = command.scores.string() + ".journal";
  const std::vector<int32_t> held_out =
      command.data.empty() ? std::vector<int32_t>()
                           : read_held_out(command.data, "text", tokenizer, print_note);
  const LayerScores scores =
      sweep_checkpoints(job, config, held_out, static_cast<uint64_t>(command.seed), options);
  if (!options.is_first_rank()) return;
  write_scores(command.scores, scores);
  std::cout << command.scores.string() << '\n';
}

void run(const CLI::App& app, const SweepCommand& command) {
  check(app, command);
  as_rank(command.ranks, command.device,
          [&](torch::Device device, const std::shared_ptr<Communicator>& communicator) {
            RunProgress progress;
            const bool is_first = communicator->ranks().is_first();
            const Quiet others(!is_first);
            sweep(command, {.out = {},
                            .device = device,
                            .observer = is_first ? &progress : nullptr,
                            .stop = &interrupt_flag(),
                            .communicator = communicator});
          });
}

void add_task_options(CLI::App& command, SweepCommand& options) {
  SweepConfig& config = options.config;
  command.add_option("--tasks", config.tasks, "what to measure: recall,text,fda,arc_easy,...")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--data-dir", config.task_data, "folders of the tasks' data sets");
  command.add_option("--limit", config.limit, "items of a task at most (0: all)")
      ->capture_default_str();
  command.add_option("--lengths", config.lengths, "tokens of RULER's prompts")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--task-version", config.version, "of fda, swde, squad_completion: 0 or 1")
      ->capture_default_str();
  command.add_flag("--likelihoods", config.likelihoods,
                   "also log-likelihoods of the right answers (rule likelihood)");
}

void add_text_options(CLI::App& command, SweepCommand& options) {
  SweepConfig& config = options.config;
  command.add_option("--data", options.data, "held-out text: files or folders");
  command.add_option("--context", config.context, "tokens of a recall prompt or text window")
      ->capture_default_str();
  command.add_option("--needles", config.needles, "facts hidden in a prompt")
      ->capture_default_str();
  command.add_option("--prompts", config.prompts, "recall prompts")->capture_default_str();
  command.add_option("--windows", config.windows, "text windows")->capture_default_str();
  command.add_option("--seed", options.seed, "of the recall prompts")->capture_default_str();
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("sweep", "score each layer of a teacher, replaced by its aligned twin");
  const auto options = std::make_shared<SweepCommand>();
  command->add_option("teacher", options->job.teacher, "model folder of the teacher")->required();
  command->add_option("--aligned", options->job.aligned, "model folder of the twins (stage 1's)")
      ->required();
  command->add_option("--scores", options->scores, "CSV file to write")->capture_default_str();
  add_task_options(*command, *options);
  add_text_options(*command, *options);
  command->add_option("--dtype", options->precision,
                      "float32 or bfloat16 (default: bfloat16 on a GPU, else float32)");
  add_memory_option(*command, options->memory_bytes,
                    "for a batch of prompts: 8G, 512M, or a number of GiB (0: half of a GPU's free "
                    "memory, or 2 GiB)");
  add_device_options(*command, options->device);
  add_rank_options(*command, options->ranks);
  command->footer(kExample);
  command->callback([options, command] { run(*command, *options); });
}

}  // namespace hypenet
