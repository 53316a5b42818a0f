// What a model remembers between calls, of all sequences that run side by side: keys and values of
// attention layers in pages, what recurrent layers remember in slots.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "model/config.h"
#include "ops/kv_pages.h"

namespace hypenet {

using torch::Tensor;

/// What one recurrent layer remembers: a tensor for each of its kind's parts, [slots, ...part's
/// shape], float32 (float64 for float64 compute).
struct RecurrentStates {
  std::vector<Tensor> parts;

  /// Makes the slot's that of a sequence without tokens.
  void clear(int64_t slot);
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

/// Keys and values are of the type computed in, or bfloat16 where the weights are.
MemoryTypes memory_types(torch::ScalarType weights, torch::ScalarType compute);

/// A slot and its pages, in order.
struct PlaceInMemory {
  static constexpr int64_t kNoSlot = -1;
  int64_t slot = 0;  // kNoSlot: pages alone
  std::span<const int32_t> pages = {};
};

/// Allocated once; the mixers fill it in place. States are zero at first; pages hold whatever the
/// memory held.
struct DecodeState {
  DecodeState(const ModelConfig& config, const MemorySizes& sizes, const MemoryTypes& types,
              torch::Device device);

  /// Makes the slot's states those of a sequence without tokens.
  void clear_slot(int64_t slot);

  /// Makes `to` hold what `from` holds; both have as many pages.
  void copy(const PlaceInMemory& from, const PlaceInMemory& to);

  /// The bytes of a slot's states, or of a page, views in the order of the layers: uint8 [n] each,
  /// slot_bytes or page_bytes in all.
  std::vector<Tensor> bytes_of_slot(int64_t slot) const;
  std::vector<Tensor> bytes_of_page(int32_t page) const;

  /// Fills a slot's states and pages with NaN, so that whoever reads them by mistake shows.
  void poison(const PlaceInMemory& place);

  /// Bytes as allocated.
  int64_t bytes() const;

  MemorySizes sizes;
  std::vector<LayerMemory> layers;  // [L]
};

/// Copies parts one behind the other into `whole` (uint8 [n]), and back, queued where they lie.
void join_bytes(const std::vector<Tensor>& parts, const Tensor& whole);
void part_bytes(const Tensor& whole, const std::vector<Tensor>& parts);

/// The states of one recurrent layer for so many sequences, all without tokens.
RecurrentStates new_states(const MixerKind& kind, const ModelConfig& config, int64_t slots,
                           const torch::TensorOptions& options);

/// Bytes of all layers' states of one sequence, and of one page.
int64_t slot_bytes(const ModelConfig& config, const MemoryTypes& types);
int64_t page_bytes(const ModelConfig& config, const MemoryTypes& types, int64_t page_tokens);

/// Bytes of cache and state that one sequence of `tokens` tokens needs, element sizes as in
/// inference: 2 bytes for keys and values, 4 for recurrent states.
int64_t cache_bytes(const ModelConfig& config, int64_t tokens);

}  // namespace hypenet
