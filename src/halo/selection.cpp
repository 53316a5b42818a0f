// Which sweep a rule needs, and the folder 3-select.
#include "halo/selection.h"

#include <algorithm>
#include <set>

#include "base/files.h"
#include "base/folder_writer.h"
#include "eval/journal.h"
#include "halo/pilot_training.h"
#include "halo/select.h"
#include "halo/sweep.h"
#include "model/weights.h"
#include "text/stop_ids.h"

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

void check_layers(const std::vector<int64_t>& layers, int64_t count) {
  std::set<int64_t> distinct;
  for (const int64_t layer : layers) {
    HYPENET_CHECK(layer >= 0 && layer < count, "select: layers: expected layers of 0 to ",
                  count - 1, ", found ", layer);
    HYPENET_CHECK(distinct.insert(layer).second, "select: layers: expected layer ", layer,
                  " once, found it twice");
  }
}

/// The scores that the recipe's rule reads; without columns when it reads none. They are kept in
/// `folder`: who stops a pilot, or changes a rule that cannot choose, need not sweep again.
LayerScores gather_evidence(const SelectionInputs& inputs, const fs::path& folder,
                            const fs::path& journal, const RunOptions& options) {
  const auto sweep = sweep_of(inputs.recipe);
  if (!sweep) {
    LayerScores none;
    const auto config = read_model_config(inputs.teacher);
    none.layers.resize(static_cast<size_t>(config.num_hidden_layers));
    return none;
  }
  Json settings = inputs.settings;
  settings["sweep"] = write_fields(*sweep);
  settings.erase("select");
  settings.erase("distill");  // which only pilots read
  if (!is_done(folder, settings)) {
    const LayerScores scores =
        sweep_checkpoints({inputs.teacher.folder(), inputs.aligned, journal}, *sweep,
                          inputs.corpus.held_out, inputs.sweep_seed, options);
    FolderWriter writer(folder, sweep_kind());
    write_scores(writer.path() / "scores.csv", scores);
    write_json(writer.path() / "run.json", run_record("sweep", settings, {inputs.aligned}));
    writer.commit();
  }
  return read_scores(folder / "scores.csv");
}

}  // namespace

FolderKind sweep_kind() { return {"an earlier sweep", "run.json", {"scores.csv"}}; }

FolderKind selection_kind() {
  return {"an earlier selection", "run.json", {"selection.json", "scores.csv", "pilots.csv"}};
}

LayerScores sweep_checkpoints(const SweepJob& job, const SweepConfig& config,
                              const std::vector<int32_t>& held_out, uint64_t seed,
                              const RunOptions& options) {
  check_sweep(config, "sweep");
  const Tokenizer tokenizer = Tokenizer::load(job.teacher);
  const auto type = config.precision == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
  LayerVariants variants = load_variants(job.teacher, job.aligned, type, options.device);
  const Json identity = {{"teacher", folder_identity(job.teacher)},
                         {"aligned", folder_identity(job.aligned)},
                         {"precision", config.precision},
                         {"device", options.device.is_cuda() ? "cuda" : "cpu"}};
  return sweep_layers({.variants = variants,
                       .tokenizer = tokenizer,
                       .held_out = held_out,
                       .seed = seed,
                       .journal = job.journal,
                       .identity = identity,
                       .memory_bytes = job.memory_bytes,
                       .stop_ids = read_stop_ids(job.teacher, tokenizer),
                       .note =
                           [&options](const std::string& text) {
                             if (options.observer) options.observer->on_note(text);
                           }},
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

void check_selection(const HaloRecipe& recipe, const ModelConfig& teacher,
                     const Tokenizer& tokenizer) {
  resolve_keep(teacher.num_hidden_layers, recipe.select.keep);
  if (recipe.select.layers) check_layers(*recipe.select.layers, teacher.num_hidden_layers);
  auto sweep = sweep_of(recipe);
  if (!sweep) return;
  check_sweep(*sweep, "sweep");
  for (const std::string& folder : sweep->task_data) {
    HYPENET_CHECK(fs::is_directory(folder), "sweep: task_data: ", folder,
                  ": expected a folder of data sets, found ",
                  fs::exists(folder) ? "a file" : "nothing");
  }
  sweep->limit = 1;  // an item of each task says enough
  const std::vector<Task> tasks = load_sweep_tasks(*sweep, tokenizer);
  const auto rule = parse_selection_rule(recipe.select.rule);
  if (rule == SelectionRule::kPilot) return;  // of what candidates there are
  LayerScores scores;
  scores.columns = sweep_columns(*sweep, tasks);
  check_evidence(scores, rule, "sweep: tasks");
}

std::vector<int64_t> select_attention(const SelectionInputs& inputs, const fs::path& folder,
                                      const RunOptions& options) {
  const SelectConfig& config = inputs.recipe.select;
  const fs::path journal = folder.string() + ".journal";
  const auto rule = parse_selection_rule(config.rule);
  const fs::path kept = options.out / "3-sweep";
  LayerScores scores = gather_evidence(inputs, kept, journal, options);
  if (rule == SelectionRule::kPilot && !config.layers)
    scores.pilots = train_pilots(inputs, scores, options);
  const auto layers = config.layers ? *config.layers : select_layers(scores, rule, config.keep);
  FolderWriter writer(folder, selection_kind());
  if (!scores.columns.empty()) write_scores(writer.path() / "scores.csv", scores);
  if (!scores.pilots.empty()) write_pilots(writer.path() / "pilots.csv", scores.pilots);
  write_json(writer.path() / "selection.json",
             {{"rule", config.layers ? "by hand" : config.rule}, {"layers", layers}});
  write_json(writer.path() / "run.json",
             run_record(folder.filename().string(), inputs.settings, {inputs.aligned}));
  writer.commit();
  fs::remove(journal);
  remove_folder(kept, sweep_kind());
  return layers;
}

std::vector<int64_t> read_selection(const fs::path& folder) {
  const fs::path path = folder / "selection.json";
  const Json json = read_json(path);
  HYPENET_CHECK(json.is_object() && json.contains("layers"), path.string(),
                ": expected the layers of attention, found none");
  std::vector<int64_t> layers;
  read_fields(json["layers"], path.string() + ": layers", layers);
  return layers;
}

}  // namespace hypenet
