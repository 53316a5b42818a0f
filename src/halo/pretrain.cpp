// Training from scratch: the trainer of stage 3 over a list of phases, starting from random
// weights.
#include "base/files.h"
#include "base/random.h"
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

}  // namespace

fs::path pretrain(const PretrainRecipe& recipe, const RunOptions& options) {
  const ModelConfig config = parse_model_config(recipe.model, recipe.name + ": model");
  const Tokenizer tokenizer = Tokenizer::load(recipe.tokenizer);
  check_vocabulary(tokenizer, config, recipe.tokenizer);
  fs::create_directories(options.out);
  const Corpus corpus = prepare_corpus(recipe.data, tokenizer, options);

  torch::manual_seed(recipe.seed);
  CausalLm model(config);
  model->to(options.device);
  for (const PretrainPhase& phase : recipe.phases) {
    check_frozen(phase.stage, {model}, concat(recipe.name, ": phases: ", phase.name));
  }
  Json settings = {
      {"model", recipe.model}, {"seed", recipe.seed}, {"training_tokens", corpus.train->tokens()}};
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    const PretrainPhase& phase = recipe.phases[i];
    const std::string name = concat(i + 1, "-", phase.name);
    const fs::path folder = options.out / name;
    for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
    settings[phase.name] = write_fields(phase.stage);
    if (is_done(folder, settings)) {
      copy_weights(folder, model);
      continue;
    }
    model->set_compute_type(phase.stage.compute_type());
    model->make_compute_copies();
    CrossEntropyObjective objective(model);
    const uint64_t seed =
        Random(static_cast<uint64_t>(recipe.seed), {static_cast<int64_t>(i)}).next();
    run_stage({name, phase.stage, model, settings, seed}, corpus.train, tokenizer, objective,
              options);
    write_phase(folder, recipe.tokenizer, model, torch::kFloat32, run_record(name, settings, {}));
    remove_state(options.out, name);
  }
  const fs::path folder = options.out / "model";
  write_phase(folder, recipe.tokenizer, model, torch::kBFloat16, run_record("model", settings, {}));
  return folder;
}

}  // namespace hypenet
