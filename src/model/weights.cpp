// Between a model's parameters and the tensors of a checkpoint folder: the names are the same on
// both sides.
#include "model/weights.h"

#include <set>

namespace hypenet {
namespace {

/// Tensors that published checkpoints carry and no model reads: a tied head's second copy, old
/// frequency tables.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  if (name == "lm_head.weight") return config.tie_word_embeddings;
  return name.ends_with(".rotary_emb.inv_freq");
}

void check_names(const Checkpoint& checkpoint, const CausalLmImpl& model) {
  std::set<std::string> known;
  for (const auto& parameter : model.named_parameters()) known.insert(parameter.key());
  for (const std::string& name : checkpoint.names()) {
    HYPENET_CHECK(known.contains(name) || is_redundant(name, model.config()),
                  checkpoint.folder().string(), ": tensor ", name,
                  ": expected only tensors of the model that config.json describes, found this one "
                  "as well");
  }
}

}  // namespace

CausalLm load_model(const Checkpoint& checkpoint, std::optional<torch::ScalarType> type,
                    torch::Device device) {
  const std::string place = (checkpoint.folder() / "config.json").string();
  return load_model(checkpoint, parse_model_config(checkpoint.config(), place), type, device);
}

CausalLm load_model(const Checkpoint& checkpoint, const ModelConfig& config,
                    std::optional<torch::ScalarType> type, torch::Device device) {
  CausalLm model(config, false);
  check_names(checkpoint, *model);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    const Tensor stored = checkpoint.tensor(parameter.key(), parameter.value().sizes().vec());
    // A copy in any case: the stored tensor is a view of a read-only mapping.
    parameter.value().set_data(stored.to(device, type.value_or(stored.scalar_type()), false, true));
  }
  return model;
}

NamedTensors named_weights(CausalLmImpl& model, torch::ScalarType type) {
  NamedTensors weights;
  for (const auto& parameter : model.named_parameters()) {
    weights.emplace_back(parameter.key(), parameter.value().detach().to(type));
  }
  return weights;
}

}  // namespace hypenet
