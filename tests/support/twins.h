// A teacher, its twins, and the teacher with one layer replaced as a model of its own.
#pragma once

#include "halo/hybrid.h"
#include "halo/transfer.h"
#include "model/causal_lm.h"

namespace hypenet::testing_support {

/// A model whose logits spread far enough for clear choices.
inline CausalLm spread_model(const ModelConfig& config, uint64_t seed) {
  torch::manual_seed(seed);
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) {
    if (parameter.dim() > 1) parameter.mul_(8);
  }
  return model;
}

inline void copy_weights(CausalLm& to, const CausalLm& from, const std::string& part,
                         bool has_part) {
  const torch::NoGradGuard no_grad;
  const auto weights = from->named_parameters();
  for (auto& item : to->named_parameters()) {
    if ((item.key().find(part) != std::string::npos) != has_part) continue;
    item.value().copy_(weights[item.key()]);
  }
}

/// Twins with mixers of their own, of these kinds, and all else the teacher's.
inline CausalLm new_twins(const CausalLm& teacher, uint64_t seed,
                          const std::vector<const MixerKind*>& kinds) {
  CausalLm twins = spread_model(hypenet_config(teacher->config(), kinds), seed);
  copy_weights(twins, teacher, ".self_attn.", false);
  return twins;
}
inline CausalLm new_twins(const CausalLm& teacher, uint64_t seed,
                          std::string_view mixer = "lightning-attn") {
  return new_twins(teacher, seed, mixer_types(teacher->config().num_hidden_layers, {}, mixer));
}

/// The teacher with layer `replaced` of the twins, built from scratch; -1: the teacher.
inline CausalLm replaced_model(const CausalLm& teacher, const CausalLm& twins, int64_t replaced) {
  ModelConfig config = teacher->config();
  const auto& other = twins->config();
  config.mixers = other.mixers;
  if (replaced >= 0) {
    config.mixer_types[static_cast<size_t>(replaced)] =
        other.mixer_types[static_cast<size_t>(replaced)];
  }
  CausalLm model(config);
  const std::string layer = concat("model.layers.", replaced, ".self_attn.");
  copy_weights(model, teacher, layer, false);
  copy_weights(model, twins, layer, true);
  return model;
}

}  // namespace hypenet::testing_support
