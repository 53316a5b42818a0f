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
#include "cli/note.h"
#include "cli/numbers.h"
#include "halo/run.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(Examples:
  hypenet eval out/tiny/model --tasks arc_easy,hellaswag --data-dir data --out results.json
  hypenet eval out/tiny/model --tasks ruler --lengths 4096,8192 --data-dir data
  hypenet eval out/tiny/model --tasks text,recall --text valid.jsonl --contexts 256,1024
  hypenet eval teacher --tasks needle-grid --contexts 4096,8192 --compare-with student --plot grid.svg)";

constexpr int64_t kMostTokens = int64_t{1} << 24, kMostPrompts = 1'000'000;

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
  check_between("--max-length", command.measure.max_length, 0, kMostTokens);
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
}

void check(const EvalCommand& command) {
  HYPENET_CHECK(!command.measure.model.folder.empty(), "DIR: expected a model folder, found none");
  HYPENET_CHECK(!command.tasks.empty(), "--tasks: expected names of tasks, found none; --list ",
                "shows them");
  const bool needs_text = command.has(kTextTask) || command.has(kRecallTask);
  HYPENET_CHECK(!needs_text || !command.text.empty(), "--text: expected held-out text for the ",
                "tasks text and recall, found none");
  check_numbers(command);
  check_one_of("--ll-dtype", command.ll_dtype, "float32", "bf16");
  check_one_of("--ruler-rule", command.ruler_rule, "ruler", "harness");
  const bool draws = command.has(kNeedleGridTask);
  HYPENET_CHECK(draws || !command.compare_with, "--compare-with: expected the task needle-grid");
  HYPENET_CHECK(draws || !command.plot, "--plot: expected the task needle-grid");
  for (const auto& output : {command.out, command.log_samples, command.plot}) {
    if (output) check_writable(*output);
  }
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
  for (const NeedleGrid& grid : findings.grids)
    json["needle_grids"].push_back(needle_grid_json(grid));
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

void run_eval(EvalCommand command) {
  if (command.lists_tasks) return list_tasks();
  check(command);
  drop_duplicates(command.lengths);
  drop_duplicates(command.contexts);
  const auto start = std::chrono::steady_clock::now();
  command.measure.batch_tokens = parse_batch(command.batch);
  command.measure.sums_in_bf16 = command.ll_dtype == "bf16";
  const bool keeps_answers = command.out && !is_stream(*command.out);
  if (keeps_answers) command.measure.journal = command.out->string() + ".journal";

  const OpenFolder folder(command.measure.model.folder);
  std::vector<int32_t> text;
  if (!command.text.empty())
    text = read_held_out(command.text, command.text_field, folder.tokenizer, print_note);
  std::vector<Task> tasks = load_eval_tasks(command, folder);
  NeedlePrompts needles;
  if (command.has(kNeedleGridTask)) needles = load_needle_grid(command, folder, text);

  auto model =
      std::make_unique<MeasuredModel>(command.measure, folder.checkpoint, folder.tokenizer);
  Findings findings{.settings = settings_json(command, *model)};
  findings.tasks = run_text_measures(command, text, folder.tokenizer, *model);
  ScoredTasks scored = run_eval_tasks(command, std::move(tasks), *model);
  std::ranges::move(scored.results, std::back_inserter(findings.tasks));
  findings.samples = std::move(scored.samples);
  if (command.has(kNeedleGridTask)) {
    findings.grids = run_needle_grids(command, needles, std::move(model));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  show(command, findings, seconds);
  std::cerr << "eval: " << readable_seconds(seconds);
  if (keeps_answers) {
    std::cerr << "; answers are kept in " << command.measure.journal.string()
              << " for further tasks of this model";
  }
  std::cerr << std::endl;
}

void add_task_options(CLI::App& command, EvalCommand& options) {
  command.add_option("--tasks", options.tasks, "names, and files of own items: a,b,items.jsonl")
      ->delimiter(',');
  command.add_flag("--list", options.lists_tasks, "print the names of all tasks");
  command.add_option("--data-dir", options.data, "folder with the data sets' files (repeatable)");
  command.add_option("--limit", options.limit, "items of a task at most, the first ones");
  command.add_option("--shots", options.shots, "solved examples before each item");
  command.add_option("--max-length", options.measure.max_length,
                     "tokens of a row at most (0: the model's max_position_embeddings)");
  command.add_option("--batch", options.batch, "tokens of a scoring batch")->capture_default_str();
  command.add_option("--lengths", options.lengths, "of RULER's prompts, tokens: 4096,8192")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--samples", options.samples,
                     "prompts a RULER task and length (500), or a cell of the needle grid (5)");
  command
      .add_option("--task-version", options.task_version,
                  "0 or 1, of fda, swde and squad_completion")
      ->capture_default_str();
  command
      .add_option("--ruler-rule", options.ruler_rule,
                  "ruler, or harness: RULER's prompts as lm-evaluation-harness makes them")
      ->capture_default_str();
  command
      .add_option("--ll-dtype", options.ll_dtype,
                  "float32, or bf16: log-likelihoods rounded as lm-evaluation-harness does")
      ->capture_default_str();
  command.add_option("--seed", options.seed,
                     "of RULER's and the grid's samples (42), of recall (0)");
  command.add_option("--out", options.out, "results.json; FILE.journal keeps finished answers");
  command.add_option("--log-samples", options.log_samples,
                     "a JSON line an item: requests, answers");
}

void add_text_options(CLI::App& command, EvalCommand& options) {
  command.add_option("--text", options.text, "held-out text: files, folders, or token shards");
  command.add_option("--text-field", options.text_field, "JSON field or Parquet column")
      ->capture_default_str();
  command.add_option("--context", options.context, "text: tokens of a window")
      ->capture_default_str();
  command.add_option("--windows", options.windows, "text: windows")->capture_default_str();
  command
      .add_option("--contexts", options.contexts,
                  "recall, needle-grid: lengths of prompts, tokens: 256,512")
      ->delimiter(',');
  command.add_option("--needles", options.needles, "recall: facts in a prompt, 1 to 8")
      ->capture_default_str();
  command.add_option("--prompts", options.prompts, "recall: prompts a length")
      ->capture_default_str();
  command.add_option("--depths", options.depths, "needle-grid: depths from 0 to 100 %")
      ->capture_default_str();
  command
      .add_option("--needle", options.needle,
                  "needle-grid: what hides the fact: essays, repeated, or facts (in --text)")
      ->capture_default_str();
  command.add_option("--compare-with", options.compare_with, "needle-grid: a second model folder");
  command.add_option("--plot", options.plot, "needle-grid: SVG file to write");
}

}  // namespace

void add_eval_command(CLI::App& app) {
  const auto options = std::make_shared<EvalCommand>();
  CLI::App* command =
      app.add_subcommand("eval", "score a model on published tasks, recall and text");
  add_model_options(*command, options->measure.model);
  command->get_option("DIR")->required(false);  // --list needs none
  command->add_option("--memory", options->measure.memory_gib,
                      "GiB for caches and states of what is generated (0: what fits)");
  add_task_options(*command, *options);
  add_text_options(*command, *options);
  command->footer(kExamples);
  command->callback([options] { run_eval(*options); });
}

}  // namespace hypenet
