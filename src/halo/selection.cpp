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

constexpr const char* kSweepFolder = "3-sweep";

void add_task(SweepConfig& config, const std::string& name) {
  auto& tasks = config.tasks;
  if (std::find(tasks.begin(), tasks.end(), name) == tasks.end()) tasks.push_back(name);
}

fs::path journal_of(const Stage& selection) { return selection.folder.string() + ".journal"; }

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
/// 3-sweep: who stops a pilot, or changes a rule that cannot choose, need not sweep again.
LayerScores gather_evidence(const Conversion& conversion, const Stage& selection) {
  const auto sweep = sweep_of(conversion.recipe);
  if (!sweep) {
    LayerScores none;
    none.layers.resize(static_cast<size_t>(conversion.teacher_config.num_hidden_layers));
    return none;
  }
  Stage stage{.name = "sweep",
              .folder = conversion.options.out / kSweepFolder,
              .settings = selection.settings,
              .parents = selection.parents,
              .completed = selection.completed,
              .is_shared = true};
  stage.settings["sweep"] = write_fields(*sweep);
  stage.settings.erase("select");
  stage.settings.erase("distill");  // which only pilots read
  stage.make = [&](const Stage& own) {
    const SweepJob job{conversion.teacher.folder(), conversion.folder(ConversionStep::kAlign),
                       journal_of(selection)};
    const LayerScores scores =
        sweep_checkpoints(job, *sweep, conversion.corpus.held_out, conversion.seed(SeedOf::kSweep),
                          conversion.options);
    if (!conversion.options.is_first_rank()) return;
    FolderWriter writer(own.folder, sweep_kind());
    write_scores(writer.path() / "scores.csv", scores);
    write_json(writer.path() / "run.json", run_record(own));
    writer.commit();
  };
  perform({&stage, 1}, conversion.options);
  return read_scores(stage.folder / "scores.csv");
}

/// The stage's folder, for which what stands beside it has served its turn.
void write_selection(const Conversion& conversion, const Stage& stage, const LayerScores& scores,
                     const std::vector<int64_t>& layers) {
  const SelectConfig& config = conversion.recipe.select;
  FolderWriter writer(stage.folder, selection_kind());
  if (!scores.columns.empty()) write_scores(writer.path() / "scores.csv", scores);
  if (!scores.pilots.empty()) write_pilots(writer.path() / "pilots.csv", scores.pilots);
  write_json(writer.path() / "selection.json",
             {{"rule", config.layers ? "by hand" : config.rule}, {"layers", layers}});
  write_json(writer.path() / "run.json", run_record(stage));
  writer.commit();
  fs::remove(journal_of(stage));
  remove_folder(conversion.options.out / kSweepFolder, sweep_kind());
}

}  // namespace

LayerScores sweep_checkpoints(const SweepJob& job, const SweepConfig& config,
                              const std::vector<int32_t>& held_out, uint64_t seed,
                              const RunOptions& options) {
  check_sweep(config, "sweep");
  options.communicator->check_same(
      "sweep", concat(write_fields(config).dump(), ' ', seed, ' ', held_out.size()));
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
                       .note = [&](const std::string& text) { note(options, text); },
                       .ranks = options.communicator},
                      config, [&](const std::string& part, int64_t done, int64_t total) {
                        check_stop(options);
                        show_progress(options, part, done, total);
                      });
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

std::vector<int64_t> select_attention(const Conversion& conversion, const Stage& stage) {
  const SelectConfig& config = conversion.recipe.select;
  const auto rule = parse_selection_rule(config.rule);
  LayerScores scores = gather_evidence(conversion, stage);
  if (rule == SelectionRule::kPilot && !config.layers)
    scores.pilots = train_pilots(conversion, stage, scores);
  const auto layers = config.layers ? *config.layers : select_layers(scores, rule, config.keep);
  if (conversion.options.is_first_rank()) write_selection(conversion, stage, scores, layers);
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
