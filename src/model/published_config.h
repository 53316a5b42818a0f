// Hybrids with the delta rule that other projects publish, in HypeNet's keys: Qwen3-Next and
// Qwen3.5 (their dense text models), flash-linear-attention's gated_deltanet and kda, and Kimi
// Linear without what is not built: mixtures of experts and latent attention, refused by name.
#pragma once

#include <optional>
#include <string>

#include "model/config.h"

namespace hypenet {

struct PublishedConfig {
  Architecture architecture = Architecture::kHypeNet;
  Json keys = {};          // as a HypeNet's config.json has them
  std::string place = {};  // of the text model's keys
  // As in ModelConfig.
  int64_t turned_size = 0;
  bool has_float_norms = false;
};

/// nullopt for other architectures. Keys that no forward needs are passed over. Throws Error naming
/// key, expected, found for a missing or impossible size and for what is not built.
std::optional<PublishedConfig> read_published_config(const Json& json, const std::string& place);

}  // namespace hypenet
