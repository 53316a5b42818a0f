// What a model remembers between calls: keys and values of attention layers, a d x d state of the
// recurrent ones.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <variant>
#include <vector>

#include "model/config.h"

namespace hypenet {

using torch::Tensor;

/// Keys and values of one attention layer, [B, capacity, G, d]; the first `DecodeState::length` are
/// filled.
struct KvCache {
  Tensor keys, values;
};

/// The state of one recurrent layer, float32 [B, H, d, d].
struct RecurrentState {
  Tensor state;
};

/// The memory of B sequences, allocated once. Rows of different lengths are aligned on the right:
/// row b's tokens start at first_token[b].
struct DecodeState {
  DecodeState(const ModelConfig& config, int64_t batch, int64_t capacity,
              torch::TensorOptions options);

  std::vector<std::variant<KvCache, RecurrentState>> layers;  // [L]
  int64_t length = 0;                                         // tokens seen, padding included
  int64_t capacity = 0;  // most tokens the attention layers can hold
  Tensor first_token;    // [B] int64: tokens of left padding; undefined when no row is padded

  /// Bytes of all caches and states as allocated.
  int64_t bytes() const;

  /// A full copy: a recurrent state cannot be cut back, so keeping a prefix means keeping a copy.
  DecodeState snapshot() const;
};

/// Bytes of cache and state that one sequence of `tokens` tokens needs, element sizes as in
/// inference: 2 bytes for keys and values, 4 for recurrent states.
int64_t cache_bytes(const ModelConfig& config, int64_t tokens);

}  // namespace hypenet
