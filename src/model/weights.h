// Filling a model whose config is not quite the folder's.
#pragma once

#include <optional>

#include "model/causal_lm.h"

namespace hypenet {

/// As load_model of model/causal_lm.h, but config.json's place is taken by `config`: one that
/// differs in what no weight depends on (attn_logits_scaling), and was checked.
CausalLm load_model(const Checkpoint& checkpoint, const ModelConfig& config,
                    std::optional<torch::ScalarType> type, torch::Device device);

}  // namespace hypenet
