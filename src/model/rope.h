// The RoPE frequencies that a ModelConfig asks for.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "model/config.h"

namespace hypenet {

/// Frequencies in rad a token of the layers that have RoPE, float64 [d / 2] on the CPU. Where RoPE
/// turns config.turned_size of a head alone, the other pairs follow with 0, as the rows of such
/// heads are ordered (store/published_names.h). With Llama
/// 3's scaling, wavelengths above original_max_position_embeddings / low_freq_factor are stretched
/// by `factor`, those below original / high_freq_factor are kept, and those between are blended.
torch::Tensor model_rope_frequencies(const ModelConfig& config);

}  // namespace hypenet
