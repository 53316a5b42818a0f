// Each check runs what the work itself will run, on as little as will do, so that the two agree.
#include "halo/early_checks.h"

#include <algorithm>

#include "halo/select.h"
#include "halo/selection.h"

namespace hypenet {
namespace {

bool has_task(const SweepConfig& sweep, const std::string& name) {
  return std::find(sweep.tasks.begin(), sweep.tasks.end(), name) != sweep.tasks.end();
}

/// Whether the choice of layers asks recall prompts: pilots do, whatever the tasks are.
bool sweeps_recall(const HaloRecipe& recipe) {
  const auto sweep = sweep_of(recipe);
  return sweep && (has_task(*sweep, "recall") ||
                   parse_selection_rule(recipe.select.rule) == SelectionRule::kPilot);
}

}  // namespace

void check_recall(const HaloRecipe& recipe, const Tokenizer& tokenizer) {
  const bool is_swept = sweeps_recall(recipe);
  if (!is_swept && recipe.evaluate.contexts.empty()) return;
  at_place(is_swept ? "sweep: tasks: recall" : "evaluate: contexts",
           [&] { const NeedleTask task(tokenizer); });
}

void check_held_out(const HaloRecipe& recipe, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const RunOptions& options) {
  check_evaluation(recipe.evaluate, tokenizer, held_out, options);
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

}  // namespace hypenet
