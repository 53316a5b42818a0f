// Which sweep a rule needs, and the folder 3-select.
#include "halo/selection.h"

#include <algorithm>

#include "base/files.h"
#include "eval/journal.h"
#include "halo/pilot_training.h"
#include "halo/select.h"
#include "halo/sweep.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

SweepReport observed(const RunOptions& options) {
  return [&options](const std::string& part, int64_t done, int64_t total) {
    check_stop(options);
    if (options.observer) options.observer->on_progress(part, done, total);
  };
}

void add_task(SweepConfig& config, const std::string& name) {
  auto& tasks = config.tasks;
  if (std::find(tasks.begin(), tasks.end(), name) == tasks.end()) tasks.push_back(name);
}

/// The scores that the recipe's rule reads; without columns when it reads none.
LayerScores gather_evidence(const SelectionInputs& inputs, const fs::path& journal,
                            const RunOptions& options) {
  const auto sweep = sweep_of(inputs.recipe);
  if (!sweep) {
    LayerScores none;
    const auto config = parse_model_config(inputs.teacher.config(), inputs.recipe.teacher);
    none.layers.resize(static_cast<size_t>(config.num_hidden_layers));
    return none;
  }
  return sweep_checkpoints({inputs.teacher.folder(), inputs.aligned, journal}, *sweep,
                           inputs.corpus.held_out, inputs.sweep_seed, options);
}

/// The same, kept in a folder of its own: pilots take long, and who stops one of them should not
/// have to sweep again.
LayerScores kept_evidence(const SelectionInputs& inputs, const fs::path& journal,
                          const RunOptions& options) {
  const fs::path folder = options.out / "3-pilots" / "sweep";
  if (!is_done(folder, inputs.settings)) {
    const LayerScores scores = gather_evidence(inputs, journal, options);
    FolderWriter writer(folder);
    write_scores(writer.path() / "scores.csv", scores);
    write_json(writer.path() / "run.json", run_record("sweep", inputs.settings, {inputs.aligned}));
    writer.commit();
  }
  return read_scores(folder / "scores.csv");
}

}  // namespace

LayerScores sweep_checkpoints(const SweepJob& job, const SweepConfig& config,
                              const std::vector<int32_t>& held_out, uint64_t seed,
                              const RunOptions& options) {
  check_sweep(config, "sweep");
  const Tokenizer tokenizer = Tokenizer::load(job.teacher);
  const auto type = config.precision == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
  LayerVariants variants = load_variants(job.teacher, job.aligned, type, options.device);
  const Json identity = {{"teacher", folder_identity(job.teacher)},
                         {"aligned", folder_identity(job.aligned)},
                         {"precision", config.precision}};
  return sweep_layers({.variants = variants,
                       .tokenizer = tokenizer,
                       .held_out = held_out,
                       .seed = seed,
                       .journal = job.journal,
                       .identity = identity,
                       .memory_bytes = job.memory_bytes},
                      config, observed(options));
}

std::optional<SweepConfig> sweep_of(const HaloRecipe& recipe) {
  if (recipe.select.layers) return std::nullopt;
  SweepConfig config = recipe.sweep;
  switch (parse_selection_rule(recipe.select.rule)) {
    case SelectionRule::kUniform:
      return std::nullopt;
    case SelectionRule::kKl:
      config.tasks = {"text"};
      return config;
    case SelectionRule::kLazy:
      config.tasks = {"lazy"};
      return config;
    case SelectionRule::kLikelihood:
      config.likelihoods = true;
      return config;
    case SelectionRule::kPilot:
      add_task(config, "text");
      add_task(config, "lazy");
      return config;
    case SelectionRule::kHalo:
    case SelectionRule::kRecallDrop:
      return config;
  }
  throw Error("selection rule: not one of the table");
}

std::vector<int64_t> select_attention(const SelectionInputs& inputs, const fs::path& folder,
                                      const RunOptions& options) {
  const SelectConfig& config = inputs.recipe.select;
  const fs::path journal = folder.string() + ".journal";
  const auto rule = parse_selection_rule(config.rule);
  const bool has_pilots = rule == SelectionRule::kPilot && !config.layers;
  LayerScores scores = has_pilots ? kept_evidence(inputs, journal, options)
                                  : gather_evidence(inputs, journal, options);
  if (has_pilots) scores.pilots = train_pilots(inputs, scores, options);
  const auto layers = config.layers ? *config.layers : select_layers(scores, rule, config.keep);
  FolderWriter writer(folder);
  if (!scores.columns.empty()) write_scores(writer.path() / "scores.csv", scores);
  if (!scores.pilots.empty()) write_pilots(writer.path() / "pilots.csv", scores.pilots);
  write_json(writer.path() / "selection.json",
             {{"rule", config.layers ? "by hand" : config.rule}, {"layers", layers}});
  write_json(writer.path() / "run.json",
             run_record(folder.filename().string(), inputs.settings, {inputs.aligned}));
  writer.commit();
  fs::remove(journal);
  return layers;
}

}  // namespace hypenet
