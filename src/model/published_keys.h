// What the readers of published hybrids' keys share (model/published_config.h).
#pragma once

#include <string>
#include <vector>

#include "model/config_keys.h"
#include "model/published_config.h"

namespace hypenet {

/// A folder's keys; `text` is the object that `keys` reads. `tensors` are the names of its tensors,
/// none where nobody knows them.
struct PublishedFolder {
  const ConfigKeys& keys;
  const Json& text;
  const std::vector<std::string>& tensors;
};

using ReadPublished = void (*)(const PublishedFolder& folder, PublishedConfig& found);

/// A size that must be there, or has a default; null is absence.
int64_t published_size(const ConfigKeys& keys, const char* key);
int64_t published_size(const ConfigKeys& keys, const char* key, int64_t fallback);

/// A size that is `size`, which has this name, times the key's number, rounded down.
int64_t scaled_size(const ConfigKeys& keys, const char* key, double fallback, const char* of,
                    int64_t size);

/// Throws Error unless the key is null or absent: `what` is not built.
void require_none(const ConfigKeys& keys, const char* key, const char* what);

/// RWKV-7: RADLADS' rwkv7qwen2 and flash-linear-attention's rwkv7 (model/published_rwkv7.cpp).
void read_radlads(const PublishedFolder& folder, PublishedConfig& found);
void read_fla_rwkv7(const PublishedFolder& folder, PublishedConfig& found);

/// Mamba-2: flash-linear-attention's mamba2, Llamba, and The Mamba in the Llama, whose
/// mamba_config.json is the key mamba_config here (model/published_mamba2.cpp).
void read_fla_mamba2(const PublishedFolder& folder, PublishedConfig& found);
void read_llamba(const PublishedFolder& folder, PublishedConfig& found);
void read_mamba_in_llama(const PublishedFolder& folder, PublishedConfig& found);

/// Jet-Nemotron (model/published_jet.cpp).
void read_jet(const PublishedFolder& folder, PublishedConfig& found);

}  // namespace hypenet
