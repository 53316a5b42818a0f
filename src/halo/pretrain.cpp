// Training from scratch: the trainer of stage 3 over a list of phases, starting from random
// weights.
#include "base/folder_writer.h"
#include "base/random.h"
#include "halo/early_checks.h"
#include "halo/kept_recipe.h"
#include "halo/pipeline.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

void write_phase(const fs::path& folder, const fs::path& companions, CausalLm& model,
                 torch::ScalarType type, const Json& run) {
  ModelConfig config = model->config();
  config.torch_dtype = type == torch::kBFloat16 ? "bfloat16" : "float32";
  write_checkpoint(folder, {.config = to_json(config),
                            .tensors = named_weights(*model, type),
                            .run = run,
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

constexpr const char* kWayOut = "remove it and the folders of the phases after it, model too";

std::string place_of(const PretrainRecipe& recipe, const PretrainPhase& phase) {
  return concat(recipe.name, ": phases: ", phase.name);
}

std::string name_of(const PretrainRecipe& recipe, size_t phase) {
  return concat(phase + 1, "-", recipe.phases[phase].name);
}

void note(const RunOptions& options, const std::string& text) {
  if (options.observer) options.observer->on_note(text);
}

/// Nothing stands where a phase will write but what a run wrote.
void check_folders(const PretrainRecipe& recipe, const RunOptions& options) {
  const auto check = [](const fs::path& folder) {
    if (!fs::exists(folder / "run.json")) check_folder(folder, model_folder_kind());
  };
  for (size_t i = 0; i < recipe.phases.size(); ++i) check(options.out / name_of(recipe, i));
  check(options.out / "model");
}

/// What the phases cannot do.
void check_phases(const PretrainRecipe& recipe, const RunOptions& options,
                  const Tokenizer& tokenizer, const CausalLm& model) {
  for (const PretrainPhase& phase : recipe.phases) {
    check_frozen(phase.stage, {model}, place_of(recipe, phase));
    check_stage_rows(phase.stage, tokenizer, options.device, place_of(recipe, phase));
  }
  check_text_files(recipe.data, options.out);
}

/// Phases that were finished or begun with other settings are found before any work.
void check_made_before(const PretrainRecipe& recipe, const RunOptions& options, Json settings) {
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    const PretrainPhase& phase = recipe.phases[i];
    settings[phase.name] = write_fields(phase.stage);
    is_done(options.out / name_of(recipe, i), settings, kWayOut);
    check_stage_state(name_of(recipe, i), settings, options);
  }
  is_done(options.out / "model", settings, kWayOut);
}

}  // namespace

fs::path pretrain(const PretrainRecipe& recipe, const RunOptions& options) {
  const ModelConfig config = parse_model_config(recipe.model, recipe.name + ": model");
  const Tokenizer tokenizer = Tokenizer::load(recipe.tokenizer);
  check_vocabulary(tokenizer, config, recipe.tokenizer);
  torch::manual_seed(recipe.seed);
  CausalLm model(config);
  check_phases(recipe, options, tokenizer, model);
  prepare_out(options);
  check_folders(recipe, options);
  const auto keep = [&] { keep_recipe(options.out, "train", write_fields(recipe)); };
  // Before the text is tokenized, which may take hours; else once it fits what is there.
  if (!fs::exists(options.out / "tokens")) keep();
  const Corpus corpus = prepare_corpus(recipe.data, tokenizer, options);
  for (const PretrainPhase& phase : recipe.phases)
    check_stage_text(phase.stage, *corpus.train, place_of(recipe, phase));
  Json settings = {
      {"model", recipe.model}, {"seed", recipe.seed}, {"training_tokens", corpus.train->tokens()}};
  check_made_before(recipe, options, settings);
  keep();

  model->to(options.device);
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    const PretrainPhase& phase = recipe.phases[i];
    const std::string name = name_of(recipe, i);
    const fs::path folder = options.out / name;
    for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
    settings[phase.name] = write_fields(phase.stage);
    if (is_done(folder, settings, kWayOut)) {
      note(options, name + ": done before");
      copy_weights(folder, model);
      continue;
    }
    model->prepare(phase.stage.compute_plan());
    CrossEntropyObjective objective(model);
    const uint64_t seed =
        Random(static_cast<uint64_t>(recipe.seed), {static_cast<int64_t>(i)}).next();
    run_stage({name, phase.stage, model, settings, seed}, corpus.train, tokenizer, objective,
              options);
    write_phase(folder, recipe.tokenizer, model, torch::kFloat32, run_record(name, settings, {}));
    remove_state(options.out, name);
  }
  const fs::path folder = options.out / "model";
  if (is_done(folder, settings, kWayOut)) return folder;
  write_phase(folder, recipe.tokenizer, model, torch::kBFloat16, run_record("model", settings, {}));
  return folder;
}

}  // namespace hypenet
