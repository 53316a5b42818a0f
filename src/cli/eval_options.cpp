// The flags of hypenet eval, and which of its tasks read which.
#include "base/error.h"
#include "cli/eval.h"
#include "cli/generation_options.h"

namespace hypenet {
namespace {

constexpr uint64_t kRulerSeed = 42;

Json or_null(const std::optional<int64_t>& value) { return value ? Json(*value) : Json(nullptr); }

void add_task_options(CLI::App& command, EvalCommand& options) {
  command.add_option("--tasks", options.tasks, "names, and files of own items: a,b,items.jsonl")
      ->delimiter(',');
  command.add_flag("--list", options.lists_tasks, "print the names of all tasks");
  command.add_option("--data-dir", options.data, "folder with the data sets' files (repeatable)");
  command.add_option("--limit", options.limit, "items of a task at most, the first ones");
  command.add_option("--shots", options.shots, "solved examples before each item");
  command.add_option("--max-length", options.max_length,
                     "tokens of a row at most (default: config.json's max_position_embeddings)");
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
  command
      .add_option("--needles", options.needles,
                  "recall, needle-grid in facts: facts in a prompt, 1 to 8")
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

void add_eval_options(CLI::App& command, EvalCommand& options) {
  add_memory_option(command, options.measure.memory_bytes,
                    "for caches and states of what is generated: 8G, 512M, or a number of GiB (0: "
                    "what fits)");
  add_task_options(command, options);
  add_text_options(command, options);
}

std::vector<TaskOption> eval_task_options(const EvalCommand& command, int64_t max_length,
                                          int64_t text_tokens) {
  constexpr TaskKinds kFacts = kRecallKind | kFactGridKind, kProse = kTextKind | kFacts;
  constexpr TaskKinds kLengths = kRecallKind | kAnyGrid, kDrawn = kAnyRuler | kAnyGrid;
  constexpr const char *kItems = "tasks of items (data sets, RULER and files of own items)",
                       *kScored = "tasks that score log-likelihoods of items",
                       *kRuler = "RULER's tasks", *kGrid = "needle-grid",
                       *kText = "text, recall, and needle-grid with --needle facts";
  const auto seed = [&](int64_t own) { return Json(command.seed.value_or(own)); };
  return {
      {"--data-dir", kAnyDataSet | kEssayGridKind,
       "tasks with a data set, and needle-grid in essays"},
      {"--limit", kAnyItems, kItems, "limit", or_null(command.limit)},
      {"--shots", kChoiceKind | kLambadaKind, "data sets of choices, and lambada"},
      {"--max-length", kAnyItems | kAnyGrid, "tasks of items, and needle-grid", "max_length",
       max_length},
      {"--batch", kAnyScored | kTextKind | kRecallKind, "tasks that score, text and recall"},
      {"--lengths", kAnyRuler, kRuler},
      {"--samples", kDrawn, "RULER's tasks, and needle-grid"},
      {"--task-version", kCompletionKind, "fda, swde and squad_completion"},
      {"--ruler-rule", kAnyRuler, kRuler, "ruler_rule", command.ruler_rule},
      {"--ll-dtype", kAnyScored, kScored, "ll_dtype", command.ll_dtype},
      {"--log-samples", kAnyItems, kItems},
      {"--memory", kAnyGenerated | kAnyGrid, "tasks whose answers are generated"},
      {"--text", kProse, kText, "text", command.text},
      {"--text", kProse, kText, "text_tokens", text_tokens},
      {"--text-field", kProse, kText},
      {"--context", kTextKind, "text (--contexts is that of recall and needle-grid)", "context",
       command.context},
      {"--windows", kTextKind, "text", "windows", command.windows},
      {"--contexts", kLengths, "recall and needle-grid (--context is that of text)"},
      {"--needles", kFacts, "recall, and needle-grid with --needle facts", "needles",
       command.needles},
      {"--prompts", kRecallKind, "recall", "prompts", command.prompts},
      {"--seed", kRecallKind, "recall, RULER's tasks and needle-grid", "seed", seed(0)},
      {"--seed", kDrawn, "recall, RULER's tasks and needle-grid", "seed", seed(kRulerSeed)},
      {"--depths", kAnyGrid, kGrid},
      {"--needle", kAnyGrid, kGrid},
      {"--compare-with", kAnyGrid, kGrid},
      {"--plot", kAnyGrid, kGrid},
  };
}

}  // namespace hypenet
