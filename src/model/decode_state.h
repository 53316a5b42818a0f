// What a model remembers between calls, of all sequences that run side by side: keys and values of
// attention layers in pages, a d x d state of the recurrent ones in slots.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <variant>
#include <vector>

#include "model/config.h"
#include "ops/attention_step.h"

namespace hypenet {

using torch::Tensor;

/// The states of one recurrent layer, float32 (float64 for float64 compute) [slots, H, d, d].
struct RecurrentStates {
  Tensor states;
};

using LayerMemory = std::variant<KvPages, RecurrentStates>;

/// How much memory there is: sequences side by side, and pages of tokens that they share.
struct MemorySizes {
  int64_t slots = 1, pages = 1, page_tokens = 128;
};

/// The types of keys and values, and of states.
struct MemoryTypes {
  torch::ScalarType cache = torch::kFloat32, state = torch::kFloat32;
};

/// Allocated once; the mixers fill it in place. States are zero at first; pages hold whatever the
/// memory held.
struct DecodeState {
  DecodeState(const ModelConfig& config, const MemorySizes& sizes, const MemoryTypes& types,
              torch::Device device);

  /// Makes the slot's states those of a sequence without tokens.
  void clear_slot(int64_t slot);

  /// Fills a slot's states and pages with NaN, so that whoever reads them by mistake shows.
  void poison(int64_t slot, const std::vector<int32_t>& pages);

  /// Bytes as allocated.
  int64_t bytes() const;

  MemorySizes sizes;
  std::vector<LayerMemory> layers;  // [L]
};

/// Bytes of all layers' states of one sequence, and of one page.
int64_t slot_bytes(const ModelConfig& config, const MemoryTypes& types);
int64_t page_bytes(const ModelConfig& config, const MemoryTypes& types, int64_t page_tokens);

/// Bytes of cache and state that one sequence of `tokens` tokens needs, element sizes as in
/// inference: 2 bytes for keys and values, 4 for recurrent states.
int64_t cache_bytes(const ModelConfig& config, int64_t tokens);

}  // namespace hypenet
