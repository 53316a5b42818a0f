// Phases train one model in memory; whatever was made before is read from its folder.
#include "run/pretrain.h"

#include "base/files.h"
#include "base/folder_writer.h"
#include "base/random.h"
#include "run/kept_recipe.h"
#include "run/run_files.h"
#include "run/training.h"
#include "train/cross_entropy.h"
#include "train/row_ranks.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

void write_phase(const Stage& stage, const fs::path& companions, CausalLm& model,
                 torch::ScalarType type) {
  ModelConfig config = model->config();
  config.torch_dtype = type == torch::kBFloat16 ? "bfloat16" : "float32";
  write_checkpoint(stage.folder, {.config = to_json(config),
                                  .tensors = named_weights(*model, type),
                                  .run = run_record(stage),
                                  .companions_from = companions});
}

void copy_weights(const fs::path& from, CausalLm& model) {
  const torch::NoGradGuard no_grad;
  const Checkpoint checkpoint(from);
  for (auto& [name, tensor] : trainable_parameters(model)) {
    Tensor target = tensor;
    target.copy_(checkpoint.tensor(name, tensor.sizes().vec()));
  }
}

std::string place_of(const PretrainRecipe& recipe, const PretrainPhase& phase) {
  return concat(recipe.name, ": phases: ", phase.name);
}

std::string name_of(const PretrainRecipe& recipe, size_t phase) {
  return concat(phase + 1, "-", recipe.phases[phase].name);
}

/// What the phases cannot do.
void check_phases(const PretrainRecipe& recipe, const RunOptions& options,
                  const Tokenizer& tokenizer, const CausalLm& model) {
  for (const PretrainPhase& phase : recipe.phases) {
    check_parts(phase.stage, model->named_parameters().keys(), place_of(recipe, phase));
    check_stage_rows(phase.stage, tokenizer, options.device, place_of(recipe, phase));
    check_row_ranks(phase.stage, options.communicator->ranks(), model->config().mixer_types,
                    place_of(recipe, phase));
  }
  check_text_files(recipe.data, options.out);
}

/// The phases and the finished model.
std::vector<Stage> stages_of(const PretrainRecipe& recipe, const Tokenizer& tokenizer,
                             const Corpus& corpus, CausalLm& model, const RunOptions& options) {
  Stage next{.settings = {{"model", recipe.model},
                          {"seed", recipe.seed},
                          {"training_tokens", corpus.train->tokens()}},
             .completed =
                 [&](Json settings, const fs::path& place) {
                   for (const PretrainPhase& phase : recipe.phases)
                     complete<StageConfig>(settings, phase.name, place.string() + ": settings");
                   return settings;
                 },
             .or_else = "remove it and the folders of the phases after it, model too"};
  std::vector<Stage> stages;
  const auto add = [&](const std::string& name, const std::function<void(const Stage&)>& make) {
    const fs::path before = next.folder;
    next.name = name, next.folder = options.out / name;
    next.make = [&model, before, make](const Stage& stage) {
      for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
      if (!before.empty()) copy_weights(before, model);
      make(stage);
    };
    stages.push_back(next);
  };
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    const PretrainPhase& phase = recipe.phases[i];
    next.settings[phase.name] = write_fields(phase.stage);
    add(name_of(recipe, i), [&, i](const Stage& stage) {
      model->prepare(phase.stage.compute_plan());
      model->split_rows(new_row_parts(phase.stage, *options.communicator));
      CrossEntropyObjective objective(model);
      const uint64_t seed =
          Random(static_cast<uint64_t>(recipe.seed), {static_cast<int64_t>(i)}).next();
      train_stage({stage, phase.stage, model, seed, options.communicator}, corpus.train, tokenizer,
                  objective, options);
      if (!options.is_first_rank()) return;
      write_phase(stage, recipe.tokenizer, model, torch::kFloat32);
      remove_state(stage);
    });
    stages.back().is_shared = true;
  }
  add("model",
      [&](const Stage& stage) { write_phase(stage, recipe.tokenizer, model, torch::kBFloat16); });
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

/// results.json of the finished model, measured now unless it was before.
void evaluate_once(const PretrainRecipe& recipe, const Stage& finished, const Tokenizer& tokenizer,
                   const Corpus& corpus, const RunOptions& options) {
  const fs::path path = options.out / "results.json";
  Json settings = finished.settings;
  settings["evaluate"] = write_fields(recipe.evaluate);
  const bool is_first = options.is_first_rank();
  const bool is_known = is_first && has_results_of(path, settings, finished.completed);
  if (options.communicator->any(is_known)) return;
  const auto seed = Random(static_cast<uint64_t>(recipe.seed), {std::ssize(recipe.phases)}).next();
  const Evaluation evaluation = evaluate(
      finished.folder, "model", {recipe.evaluate, tokenizer, corpus.held_out, seed}, options);
  if (is_first) write_json(path, {{"settings", settings}, {"model", write_fields(evaluation)}});
}

}  // namespace

fs::path pretrain(const PretrainRecipe& recipe, const RunOptions& options) {
  const ModelConfig config = parse_model_config(recipe.model, recipe.name + ": model");
  check_is_written(config, recipe.name + ": model");
  const Tokenizer tokenizer = Tokenizer::load(recipe.tokenizer);
  check_vocabulary(tokenizer, config, recipe.tokenizer);
  torch::manual_seed(recipe.seed);
  CausalLm model(config);
  check_phases(recipe, options, tokenizer, model);
  options.communicator->check_same("recipe", write_fields(recipe).dump());
  check_shared_disk(options);
  FolderLock lock;
  Corpus corpus;
  std::vector<Stage> stages;
  in_turn(options, [&] {
    lock = prepare_out(options);
    check_folders(recipe, options);
    const auto keep = [&] { keep_recipe(options.out, "train", write_fields(recipe)); };
    // Before the text is tokenized, which may take hours; else once it fits what is there.
    if (!fs::exists(options.out / "tokens")) keep();
    corpus =
        prepare_corpus(recipe.data, tokenizer, options, [&](const std::vector<int32_t>& held_out) {
          check_evaluation(recipe.evaluate, tokenizer, held_out, options);
        });
    for (const PretrainPhase& phase : recipe.phases)
      check_stage_text(phase.stage, *corpus.train, place_of(recipe, phase));
    stages = stages_of(recipe, tokenizer, corpus, model, options);
    check_made_before(stages);
    keep();
  });
  model->to(options.device);
  perform(stages, options);
  evaluate_once(recipe, stages.back(), tokenizer, corpus, options);
  return stages.back().folder;
}

}  // namespace hypenet
