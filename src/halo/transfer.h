// HALO step 0, attention weight transfer: every layer of the teacher gets a recurrent twin made of
// its own weights.
#pragma once

#include "model/config.h"
#include "store/checkpoint.h"

namespace hypenet {

/// The HypeNet config of a teacher whose layers become `mixer_types`: RoPE in lightning layers
/// alone, output gates on (docs/halo.md). Throws Error when the teacher is itself a HypeNet.
ModelConfig hypenet_config(const ModelConfig& teacher, std::vector<MixerType> mixer_types);

struct TransferOptions {
  double gate_std = 0.02;  // new gates are N(0, gate_std)
  uint64_t seed = 0;
};

/// All tensors of a model whose every layer is a recurrent twin: q/k/v/o_proj copied, k and v heads
/// repeated H/G times in place, q/k norms copied (ones where the teacher has none), o_norm ones,
/// z_proj new; the rest is the teacher's. In the teacher's types.
NamedTensors transfer_weights(const Checkpoint& teacher, const ModelConfig& config,
                              const TransferOptions& options);

/// A new gate's weight [H * d, D] for layer `layer`, N(0, std), the same for the same seed.
Tensor new_gate(const ModelConfig& config, int64_t layer, double std, uint64_t seed,
                torch::ScalarType type);

/// "model.layers.<layer>.self_attn.<name>"
std::string mixer_tensor(int64_t layer, std::string_view name);

}  // namespace hypenet
