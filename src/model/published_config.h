// Recurrent models and hybrids that other projects publish, in HypeNet's keys (docs/formats.md has
// the list). What is not built is refused by name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/config.h"

namespace hypenet {

struct PublishedConfig {
  Architecture architecture = Architecture::kHypeNet;
  Json keys = {};          // as a HypeNet's config.json has them
  std::string place = {};  // of the text model's keys
  // As in ModelConfig.
  int64_t turned_size = 0;
  bool has_float_norms = false;
  BlockForm blocks = {};
};

/// nullopt for other architectures. Keys that no forward needs are passed over. `tensors` are the
/// folder's names, where they are known: some variants differ in these alone. Throws Error naming
/// key, expected, found for a missing or impossible size and for what is not built.
std::optional<PublishedConfig> read_published_config(const Json& json, const std::string& place,
                                                     const std::vector<std::string>& tensors);

}  // namespace hypenet
