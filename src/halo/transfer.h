// HALO step 0, attention weight transfer: every layer of the teacher gets a recurrent twin made of
// its own weights, by the rule of its mixer (halo/twins/).
#pragma once

#include "halo/twins/twin_rule.h"
#include "model/config.h"
#include "store/checkpoint.h"

namespace hypenet {

/// The HypeNet config of a teacher whose layers become `mixer_types`: RoPE in recurrent layers
/// alone, output gates on (docs/halo.md). Throws Error when the teacher is itself a HypeNet.
ModelConfig hypenet_config(const ModelConfig& teacher, std::vector<const MixerKind*> mixer_types);

/// All tensors of a model whose every layer is a recurrent twin (hypenet_config of the teacher);
/// what is not a mixer's is the teacher's. In the teacher's types.
NamedTensors transfer_weights(const Checkpoint& teacher, const ModelConfig& config,
                              const TransferOptions& options);

}  // namespace hypenet
