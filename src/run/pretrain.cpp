// Phases train one model in memory; whatever was made before is read from its folder.
#include "run/pretrain.h"

#include "base/files.h"
#include "base/folder_writer.h"
#include "base/random.h"
#include "run/kept_recipe.h"
#include "run/model_identity.h"
#include "run/run_files.h"
#include "run/training.h"
#include "train/cross_entropy.h"
#include "train/row_ranks.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// What the first phase begins with.
struct Beginning {
  ModelConfig config;
  fs::path folder = {};  // of the weights; empty: they are random
  Json settings = {};    // what run.json says of it
};

/// What the phases of one training share. References have to outlive it.
struct Training {
  const PretrainRecipe& recipe;
  const RunOptions& options;
  Beginning beginning;
  Tokenizer tokenizer;
  CausalLm model;
  Corpus corpus = {};
};

Beginning begin_with_folder(const fs::path& folder, const RunOptions& options) {
  const Checkpoint checkpoint = open_rounded(folder);
  ModelConfig config =
      read_model_config(checkpoint, [&](const std::string& text) { note(options, text); });
  check_is_written(config, checkpoint.config_place());
  check_tensors(checkpoint, config);
  const Json settings = {{"folder", folder.string()}, {"weights", model_identity(checkpoint)}};
  return {std::move(config), folder, settings};
}

Beginning beginning_of(const PretrainRecipe& recipe, const RunOptions& options) {
  if (recipe.has_folder()) return begin_with_folder(recipe.model.get<std::string>(), options);
  const std::string place = recipe.name + ": model";
  ModelConfig config = parse_model_config(recipe.model, place);
  check_is_written(config, place);
  return {std::move(config), {}, recipe.model};
}

/// The model in memory, whose weights are there once the first phase begins.
Training new_training(const PretrainRecipe& recipe, const RunOptions& options) {
  Beginning beginning = beginning_of(recipe, options);
  Tokenizer tokenizer = Tokenizer::load(recipe.tokenizer_folder());
  check_vocabulary(tokenizer, beginning.config, recipe.tokenizer_folder());
  torch::manual_seed(recipe.seed);
  CausalLm model(beginning.config, /*random_weights=*/beginning.folder.empty());
  return {recipe, options, std::move(beginning), std::move(tokenizer), std::move(model)};
}

void write_phase(const Training& training, const Stage& stage, torch::ScalarType type) {
  ModelConfig config = training.beginning.config;
  config.torch_dtype = type == torch::kBFloat16 ? "bfloat16" : "float32";
  CausalLm model = training.model;
  write_checkpoint(stage.folder, {.config = to_json(config),
                                  .tensors = named_weights(*model, type),
                                  .run = run_record(stage),
                                  .companions_from = training.recipe.tokenizer_folder()});
}

std::string place_of(const PretrainRecipe& recipe, const PretrainPhase& phase) {
  return concat(recipe.name, ": phases: ", phase.name);
}

std::string name_of(const PretrainRecipe& recipe, size_t phase) {
  return concat(phase + 1, "-", recipe.phases[phase].name);
}

/// What the phases cannot do.
void check_phases(const Training& training) {
  const auto& [recipe, options, beginning, tokenizer, model, corpus] = training;
  for (const PretrainPhase& phase : recipe.phases) {
    check_parts(phase.stage, model->named_parameters().keys(), place_of(recipe, phase));
    check_stage_rows(phase.stage, tokenizer, options.device, place_of(recipe, phase));
    check_row_ranks(phase.stage, options.communicator->ranks(), beginning.config.mixer_types,
                    place_of(recipe, phase));
  }
  check_text_files(recipe.data, tokenizer, options.out);
}

void train_phase(const Training& training, const Stage& stage, size_t i) {
  const auto& [recipe, options, beginning, tokenizer, shared, corpus] = training;
  const StageConfig& config = recipe.phases[i].stage;
  CausalLm model = shared;
  model->prepare(config.compute_plan());
  model->split_rows(new_row_parts(config, *options.communicator));
  CrossEntropyObjective objective(model);
  const uint64_t seed =
      Random(static_cast<uint64_t>(recipe.seed), {static_cast<int64_t>(i)}).next();
  train_stage({stage, config, model, seed, options.communicator}, corpus.train, tokenizer,
              objective, options);
  if (!options.is_first_rank()) return;
  write_phase(training, stage, torch::kFloat32);
  remove_state(stage);
}

/// The phases and the finished model, each of which begins with what the one before it left.
std::vector<Stage> stages_of(const Training& training) {
  const PretrainRecipe& recipe = training.recipe;
  const std::string& tokenizer = training.tokenizer.fingerprint();
  Stage next{.folder = training.beginning.folder,
             .settings = {{"model", training.beginning.settings},
                          {"tokenizer", tokenizer},
                          {"seed", recipe.seed},
                          {"training_tokens", training.corpus.train->tokens()}},
             .completed =
                 [&recipe, &tokenizer](Json settings, const fs::path& place) {
                   for (const PretrainPhase& phase : recipe.phases)
                     complete<StageConfig>(settings, phase.name, place.string() + ": settings");
                   if (!settings.contains("tokenizer")) settings["tokenizer"] = tokenizer;
                   return settings;
                 },
             .or_else = "remove it and the folders of the phases after it, model too"};
  std::vector<Stage> stages;
  const auto add = [&](const std::string& name, const std::function<void(const Stage&)>& make) {
    const fs::path before = next.folder;
    next.name = name, next.folder = training.options.out / name;
    if (!before.empty()) next.parents = {before};
    next.make = [&training, before, make](const Stage& stage) {
      CausalLm model = training.model;
      for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
      if (!before.empty()) copy_weights(open_rounded(before), model);
      make(stage);
    };
    stages.push_back(next);
  };
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    next.settings[recipe.phases[i].name] = write_fields(recipe.phases[i].stage);
    add(name_of(recipe, i),
        [&training, i](const Stage& stage) { train_phase(training, stage, i); });
    stages.back().is_shared = true;
  }
  add("model", [&training](const Stage& stage) { write_phase(training, stage, torch::kBFloat16); });
  return stages;
}

/// Nothing stands where a stage will write but what a run wrote.
void check_folders(const PretrainRecipe& recipe, const RunOptions& options) {
  std::vector<std::string> names = {"model"};
  for (size_t i = 0; i < recipe.phases.size(); ++i) names.push_back(name_of(recipe, i));
  for (const std::string& name : names) {
    const fs::path folder = options.out / name;
    if (!fs::exists(folder / "run.json")) check_folder(folder, model_folder_kind());
  }
}

/// results.json of the finished model and of the folder that it began with, measured now unless
/// they were before.
void evaluate_once(const Training& training, const Stage& finished) {
  const auto& [recipe, options, beginning, tokenizer, model, corpus] = training;
  const fs::path path = options.out / "results.json";
  Json settings = finished.settings;
  settings["evaluate"] = write_fields(recipe.evaluate);
  const bool is_first = options.is_first_rank();
  const bool is_known = is_first && has_results_of(path, settings, finished.completed);
  if (options.communicator->any(is_known)) return;
  const auto seed = Random(static_cast<uint64_t>(recipe.seed), {std::ssize(recipe.phases)}).next();
  const EvaluationInputs inputs{recipe.evaluate, tokenizer, corpus.held_out, seed};
  Json results = {{"settings", settings}};
  if (!beginning.folder.empty())
    results["beginning"] = write_fields(evaluate(beginning.folder, "beginning", inputs, options));
  results["model"] = write_fields(evaluate(finished.folder, "model", inputs, options));
  if (is_first) write_json(path, results);
}

/// Everything before the first phase: the texts, and a look at what was made before.
std::vector<Stage> prepare(Training& training) {
  const PretrainRecipe& recipe = training.recipe;
  const RunOptions& options = training.options;
  check_folders(recipe, options);
  const auto keep = [&] { keep_recipe(options.out, "train", write_fields(recipe)); };
  // Before the text is tokenized, which may take hours; else once it fits what is there.
  if (!fs::exists(options.out / "tokens")) keep();
  training.corpus = prepare_corpus(
      recipe.data, training.tokenizer, options, [&](const std::vector<int32_t>& held_out) {
        check_evaluation(recipe.evaluate, training.tokenizer, held_out, options);
      });
  for (const PretrainPhase& phase : recipe.phases)
    check_stage_text(phase.stage, *training.corpus.train, place_of(recipe, phase));
  std::vector<Stage> stages = stages_of(training);
  check_made_before(stages);
  keep();
  return stages;
}

}  // namespace

fs::path pretrain(const PretrainRecipe& recipe, const RunOptions& options) {
  Training training = new_training(recipe, options);
  check_phases(training);
  options.communicator->check_same("recipe", write_fields(recipe).dump());
  options.communicator->check_same("model", training.beginning.settings.dump());
  check_shared_disk(options);
  FolderLock lock;
  std::vector<Stage> stages;
  in_turn(options, [&] {
    lock = prepare_out(options);
    stages = prepare(training);
  });
  training.model->to(options.device);
  perform(stages, options);
  evaluate_once(training, stages.back());
  return stages.back().folder;
}

}  // namespace hypenet
