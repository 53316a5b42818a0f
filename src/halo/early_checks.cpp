// Each check runs what the work itself will run, on as little as will do, so that the two agree.
#include "halo/early_checks.h"

#include <algorithm>

#include "base/files.h"
#include "data/batches.h"
#include "data/documents.h"
#include "eval/measures.h"
#include "halo/kept_recipe.h"
#include "halo/select.h"
#include "halo/selection.h"
#include "halo/steps.h"
#include "ops/graph.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// Runs the function; its Error is told with the place in front.
template <class Function>
void at_place(const std::string& place, const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    throw Error(concat(place, ": ", error.what()));
  }
}

bool has_task(const SweepConfig& sweep, const std::string& name) {
  return std::find(sweep.tasks.begin(), sweep.tasks.end(), name) != sweep.tasks.end();
}

/// Whether the choice of layers asks recall prompts: pilots do, whatever the tasks are.
bool sweeps_recall(const HaloRecipe& recipe) {
  const auto sweep = sweep_of(recipe);
  return sweep && (has_task(*sweep, "recall") ||
                   parse_selection_rule(recipe.select.rule) == SelectionRule::kPilot);
}

/// Text windows and recall prompts of one length.
struct HeldOutUse {
  std::string place;
  int64_t context = 0, windows = 0;
  RecallOptions recall = {};  // of no prompts: none
};

void check_use(const HeldOutUse& use, const Tokenizer& tokenizer,
               const std::vector<int32_t>& held_out, const RunOptions& options) {
  const auto note = [&](const std::string& text) {
    if (options.observer) options.observer->on_note(concat(use.place, ": ", text));
  };
  const std::string place = concat(use.place, ": held-out text");
  if (use.windows > 0) {
    at_place(place, [&] {
      const auto rows = text_rows(held_out, use.context, use.windows);
      if (std::ssize(rows) < use.windows) {
        note(concat("the held-out text of ", held_out.size(), " tokens holds ", rows.size(),
                    " windows of ", use.context, " tokens, not ", use.windows));
      }
    });
  }
  if (use.recall.prompts == 0) return;
  at_place(place, [&] { recall_rows(NeedleTask(tokenizer), held_out, use.recall); });
  if (use.recall.context > std::ssize(held_out)) {
    note(concat("recall prompts of ", use.recall.context, " tokens repeat the held-out text of ",
                held_out.size(), " tokens"));
  }
}

}  // namespace

void check_stage_rows(const StageConfig& stage, const Tokenizer& tokenizer, torch::Device device,
                      const std::string& place) {
  HYPENET_CHECK(stage.cuda_graph != "on" || can_capture(device), place,
                ": cuda_graph: expected \"auto\" or \"off\" on device ", device.str(),
                ", found \"on\"");
  at_place(place, [&] {
    Batches::check({stage.sequences, stage.context, 0, stage.mixture}, tokenizer);
  });
}

void check_stage_text(const StageConfig& stage, const TokenDataset& text,
                      const std::string& place) {
  HYPENET_CHECK(text.tokens() >= stage.context, place, ": context: expected at most the ",
                text.tokens(), " tokens of ", text.folder().string(), ", found ", stage.context);
}

void check_recall(const HaloRecipe& recipe, const Tokenizer& tokenizer) {
  const bool is_swept = sweeps_recall(recipe);
  if (!is_swept && recipe.evaluate.contexts.empty()) return;
  at_place(is_swept ? "sweep: tasks: recall" : "evaluate: contexts",
           [&] { const NeedleTask task(tokenizer); });
}

void check_held_out(const HaloRecipe& recipe, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const RunOptions& options) {
  const EvaluateConfig& own = recipe.evaluate;
  check_use({"evaluate", own.context, own.windows, {.prompts = 0}}, tokenizer, held_out, options);
  for (const int64_t context : own.contexts) {
    check_use({"evaluate", 0, 0, {context, own.needles, own.prompts, 0}}, tokenizer, held_out,
              options);
  }
  const auto sweep = sweep_of(recipe);
  if (!sweep) return;
  const bool has_windows = has_task(*sweep, "text") || has_task(*sweep, "lazy");
  const int64_t prompts = sweeps_recall(recipe) ? sweep->prompts : 0;
  check_use({"sweep",
             sweep->context,
             has_windows ? sweep->windows : 0,
             {sweep->context, sweep->needles, prompts, 0}},
            tokenizer, held_out, options);
}

void prepare_out(const RunOptions& options) {
  const fs::path& out = options.out;
  std::error_code error;
  fs::create_directories(out, error);
  HYPENET_CHECK(!error && fs::is_directory(out), "--out ", out.string(),
                ": cannot make the folder: ", error ? error.message() : "a file has its name");
  for (const char* file : {"recipe.json", "metrics.jsonl", "results.json", "report.html"})
    check_writable(out / file);
  for (const char* file :
       {"metrics.jsonl", "results.json", "report.html", "tokens.json", "3-select.journal"}) {
    if (fs::exists(fs::symlink_status(out / file))) check_run_file(out / file);
  }
  check_kept_recipe(out);
}

void check_text_files(const DataConfig& data, const fs::path& out) {
  const auto check = [](const std::vector<std::string>& paths) {
    const auto files = document_files({paths.begin(), paths.end()});
    HYPENET_CHECK(paths.empty() || !files.empty(), paths.front(),
                  ": expected files of text, found none");
  };
  const auto are_shards = [](const fs::path& folder) {
    return fs::exists(folder / "dataset.json");
  };
  if (!are_shards(out / "tokens")) check(data.train);
  if (!are_shards(out / "tokens-long")) check(data.long_train);
  if (data.validation.size() != 1 || !are_shards(data.validation.front())) check(data.validation);
}

}  // namespace hypenet
