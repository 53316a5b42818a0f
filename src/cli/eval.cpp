// hypenet eval: published tasks, the recipes' own measures and the needle grid, as a table and as
// results.json.
#include "cli/eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/generation_options.h"
#include "cli/note.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "data/held_out.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kExamples = R"(Examples:
  hypenet eval out/tiny/model --tasks arc_easy,hellaswag --data-dir data --out results.json
  hypenet eval out/tiny/model --tasks ruler --lengths 4096,8192 --data-dir data
  hypenet eval out/tiny/model --tasks text,recall --text valid.jsonl --contexts 256,1024
  hypenet eval teacher --tasks needle-grid --contexts 4096,8192 --compare-with student --plot grid.svg)";

constexpr int64_t kMostTokens = int64_t{1} << 24, kMostPrompts = 1'000'000;
constexpr int64_t kMostSeed = UINT32_MAX;  // of the generators that RULER draws with

void check_at_least(const char* flag, int64_t value, int64_t least) {
  HYPENET_CHECK(value >= least, flag, ": expected at least ", least, ", found ", value);
}

void check_between(const char* flag, int64_t value, int64_t least, int64_t most) {
  HYPENET_CHECK(least <= value && value <= most, flag, ": expected ", least, " to ", most,
                ", found ", value);
}

void check_one_of(const char* flag, const std::string& value, const char* first,
                  const char* second) {
  HYPENET_CHECK(value == first || value == second, flag, ": expected ", first, " or ", second,
                ", found ", value);
}

int64_t parse_batch(const std::string& text) {
  if (text == "auto") return 0;
  int64_t tokens = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tokens);
  HYPENET_CHECK(error == std::errc() && end == text.data() + text.size() && tokens > 0,
                "--batch: expected auto or a number of tokens, found ", text);
  return tokens;
}

void check_numbers(const EvalCommand& command) {
  if (command.limit) check_at_least("--limit", *command.limit, 1);
  if (command.shots) check_at_least("--shots", *command.shots, 0);
  if (command.samples) check_between("--samples", *command.samples, 1, kMostPrompts);
  if (command.max_length) check_between("--max-length", *command.max_length, 0, kMostTokens);
  check_between("--context", command.context, 1, kMostTokens);
  check_between("--windows", command.windows, 1, kMostPrompts);
  check_between("--prompts", command.prompts, 1, kMostPrompts);
  check_between("--depths", command.depths, 2, 1000);
  check_between("--needles", command.needles, 1, 8);
  for (const int64_t length : command.lengths) check_between("--lengths", length, 1, kMostTokens);
  for (const int64_t context : command.contexts) {
    check_between("--contexts", context, 1, kMostTokens);
  }
  check_between("--task-version", command.task_version, 0, 1);
  if (command.seed) check_between("--seed", *command.seed, 0, kMostSeed);
}

/// The files that are written at the end.
std::vector<Output> outputs_of(const EvalCommand& command) {
  return {{"--out", command.out}, {"--log-samples", command.log_samples}, {"--plot", command.plot}};
}

/// --list takes nothing else, not even what would be wrong.
void check_alone(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    HYPENET_CHECK(option->count() == 0 || name == "--list" || name == "DIR", name,
                  ": has no effect with --list");
  }
}

void check_model(const EvalCommand& command) {
  const ModelOptions& model = command.measure.model;
  HYPENET_CHECK(!model.folder.empty(), "DIR: expected a model folder, found none");
  parse_device(model.device.device);
  parse_type_or_auto(model.type);
  engine_options({.bytes = command.measure.memory_bytes, .context = 0}, 1);
}

void check(const CLI::App& app, const EvalCommand& command) {
  check_model(command);
  HYPENET_CHECK(!command.tasks.empty(), "--tasks: expected names of tasks, found none; --list ",
                "shows them");
  check_numbers(command);
  check_one_of("--ll-dtype", command.ll_dtype, "float32", "bf16");
  check_one_of("--ruler-rule", command.ruler_rule, "ruler", "harness");
  parse_needle_haystack(command.needle);
  refuse_unread(app, eval_task_options(command, 0, 0), command.tasks, command.needle);
  const bool needs_text = command.has(kTextTask) || command.has(kRecallTask) ||
                          (command.has(kNeedleGridTask) && command.needle == "facts");
  HYPENET_CHECK(!needs_text || !command.text.empty(), "--text: expected held-out text for the ",
                "tasks text and recall and for --needle facts, found none");
  std::vector<fs::path> inputs(command.text.begin(), command.text.end());
  inputs.insert(inputs.end(), command.tasks.begin(), command.tasks.end());  // own items
  check_outputs(outputs_of(command), inputs);
}

void drop_duplicates(std::vector<int64_t>& values) {
  auto end = values.begin();
  for (const int64_t value : values) {
    if (std::find(values.begin(), end, value) == end) *end++ = value;
  }
  values.erase(end, values.end());
}

void list_tasks() {
  std::vector<TaskName> tasks = known_tasks();
  tasks.push_back({kTextTask, "perplexity and next-token accuracy on --text"});
  tasks.push_back({kRecallTask, "facts hidden in --text, asked for at its end"});
  tasks.push_back({kNeedleGridTask, "a fact at each of --depths in prompts of --contexts"});
  tasks.push_back({"FILE.jsonl", "items of your own: docs/evaluation.md"});
  for (const TaskName& task : tasks) std::cout << fmt::format("{:<42}{}\n", task.name, task.about);
}

Json settings_json(const EvalCommand& command, MeasuredModel& model) {
  const auto number = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json folders = Json::array();
  for (const fs::path& folder : command.data) folders.push_back(folder.string());
  return {{"model", "hypenet"},
          {"model_args", command.measure.model.folder.string()},
          {"device", command.measure.model.device.device},
          {"dtype", model.type()},
          {"attn_logits_scaling", to_json(model.engine().config().attn_logits_scaling)},
          {"ll_dtype", command.ll_dtype},
          {"batch_size", command.batch},
          {"max_length", model.max_length()},
          {"tasks", command.tasks},
          {"data_dirs", folders},
          {"text", command.text},
          {"task_version", command.task_version},
          {"ruler_rule", command.ruler_rule},
          {"lengths", command.lengths},
          {"limit", number(command.limit)},
          {"num_fewshot", number(command.shots)},
          {"samples", number(command.samples)},
          {"seed", number(command.seed)}};
}

/// What eval found, to the terminal and to files.
struct Findings {
  std::vector<TaskResult> tasks = {};
  std::vector<NeedleGrid> grids = {};
  std::string samples = {};
  Json settings = {};
};

void write_results(const EvalCommand& command, const Findings& findings,
                   std::span<const TaskResult> groups, double seconds) {
  Json json = results_json(findings.tasks, groups);
  json["needle_grids"] = Json::array();
  for (const NeedleGrid& grid : findings.grids) {
    json["needle_grids"].push_back(needle_grid_json(grid));
  }
  json["config"] = findings.settings;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  json["date"] = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  json["git_hash"] = source_commit();
  json["version"] = version();
  json["total_evaluation_time_seconds"] = seconds;
  write_json(*command.out, json);
}

void show(const EvalCommand& command, const Findings& findings, double seconds) {
  const std::vector<TaskResult> groups = group_results(findings.tasks);
  if (!findings.tasks.empty()) {
    std::cout << format_table(results_table(findings.tasks, groups)) << std::flush;
  }
  if (command.out) write_results(command, findings, groups, seconds);
  if (command.log_samples) write_file(*command.log_samples, findings.samples);
  if (command.plot) {
    write_file(*command.plot, draw_heat_maps(findings.grids, "Facts found, by context and depth"));
  }
}

/// What the tasks need, read and checked before the model is opened.
struct Prepared {
  std::vector<int32_t> text = {};
  std::vector<Task> tasks = {};
  NeedlePrompts needles = {};
};

Prepared prepare(const EvalCommand& command, const OpenFolder& folder) {
  Prepared prepared;
  if (!command.text.empty()) {
    prepared.text = read_held_out(command.text, command.text_field, folder.tokenizer, print_note);
  }
  check_text_measures(command, prepared.text, folder.tokenizer);
  prepared.tasks = load_eval_tasks(command, folder);
  if (command.has(kNeedleGridTask)) {
    prepared.needles = load_needle_grid(command, folder, prepared.text);
  }
  warn_of_lengths(command, folder.config);
  return prepared;
}

Findings measure(const EvalCommand& command, const OpenFolder& folder, const Prepared& prepared) {
  auto model =
      std::make_unique<MeasuredModel>(command.measure, folder.checkpoint, folder.tokenizer);
  note_joined_words(prepared.tasks);
  Findings findings{.settings = settings_json(command, *model)};
  const std::vector<TaskOption> options =
      eval_task_options(command, model->max_length(), std::ssize(prepared.text));
  findings.tasks = run_text_measures(command, prepared.text, folder.tokenizer, *model);
  ScoredTasks scored = run_eval_tasks(command, prepared.tasks, *model);
  std::ranges::move(scored.results, std::back_inserter(findings.tasks));
  findings.samples = std::move(scored.samples);
  if (command.has(kNeedleGridTask)) {
    findings.grids = run_needle_grids(command, prepared.needles, std::move(model));
  }
  for (TaskResult& task : findings.tasks) task.settings = settings_of_task(options, task.name);
  for (NeedleGrid& grid : findings.grids) {
    grid.settings = settings_of_task(options, kNeedleGridTask, command.needle);
  }
  return findings;
}

/// The table, the files, and where the answers are kept.
void show_all(const EvalCommand& command, const Findings& findings, Clock::time_point start) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  show(command, findings, seconds);
  tell_written("eval", outputs_of(command));
  std::cerr << "eval: " << readable_seconds(seconds);
  if (!command.measure.journal.empty()) {
    std::cerr << "; answers" << (command.has_text_measures() ? " but those of text and recall" : "")
              << " are kept in " << command.measure.journal.string()
              << " for further tasks of this model";
  }
  std::cerr << std::endl;
}

void run_eval(const CLI::App& app, EvalCommand command) {
  if (command.lists_tasks) {
    check_alone(app);
    return list_tasks();
  }
  check(app, command);
  drop_duplicates(command.lengths);
  drop_duplicates(command.contexts);
  const auto start = Clock::now();
  command.measure.max_length = command.max_length.value_or(0);
  command.measure.batch_tokens = parse_batch(command.batch);
  command.measure.sums_in_bf16 = command.ll_dtype == "bf16";
  const bool keeps_answers = command.out && !is_stream(*command.out) && command.has_requests();
  if (keeps_answers) command.measure.journal = command.out->string() + ".journal";

  as_rank(command.ranks, command.measure.model.device,
          [&](torch::Device device, const std::shared_ptr<Communicator>& ranks) {
            const Quiet others(!ranks->ranks().is_first());
            EvalCommand own = command;
            own.measure.ranks = ranks;
            own.measure.model.device.device = device.str();
            const OpenFolder folder(own.measure.model.folder);
            Findings findings = measure(own, folder, prepare(own, folder));
            findings.settings["device"] = command.measure.model.device.device;
            if (ranks->ranks().is_first()) show_all(command, findings, start);
          });
}

}  // namespace

void add_eval_command(CLI::App& app) {
  const auto options = std::make_shared<EvalCommand>();
  CLI::App* command =
      app.add_subcommand("eval", "score a model on published tasks, recall and text");
  add_model_options(*command, options->measure.model);
  command->get_option("DIR")->required(false);  // --list needs none
  add_eval_options(*command, *options);
  add_rank_options(*command, options->ranks);
  command->footer(kExamples);
  command->callback([options, command] { run_eval(*command, *options); });
}

}  // namespace hypenet
