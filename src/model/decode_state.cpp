// Caches and states are allocated whole here; the mixers fill them in place.
#include "model/decode_state.h"

namespace hypenet {
namespace {

int64_t bytes_of(const Tensor& x) { return x.numel() * static_cast<int64_t>(x.element_size()); }

}  // namespace

DecodeState::DecodeState(const ModelConfig& config, int64_t batch, int64_t capacity,
                         torch::TensorOptions options)
    : capacity(capacity) {
  const bool is_double = options.dtype() == torch::kFloat64;
  const auto state_options = options.dtype(is_double ? torch::kFloat64 : torch::kFloat32);
  const int64_t G = config.num_key_value_heads, d = config.head_dim;
  const int64_t lightning_H = config.lightning_nh, lightning_d = config.lightning_head_dim;
  for (const MixerType type : config.mixer_types) {
    switch (type) {
      case MixerType::kAttention:
        layers.emplace_back(KvCache{torch::zeros({batch, capacity, G, d}, options),
                                    torch::zeros({batch, capacity, G, d}, options)});
        break;
      case MixerType::kLightning:
        layers.emplace_back(RecurrentState{
            torch::zeros({batch, lightning_H, lightning_d, lightning_d}, state_options)});
        break;
    }
  }
}

int64_t DecodeState::bytes() const {
  int64_t sum = 0;
  for (const auto& layer : layers) {
    if (const auto* cache = std::get_if<KvCache>(&layer)) {
      sum += bytes_of(cache->keys) + bytes_of(cache->values);
    } else {
      sum += bytes_of(std::get<RecurrentState>(layer).state);
    }
  }
  return sum;
}

DecodeState DecodeState::snapshot() const {
  DecodeState copy = *this;
  for (auto& layer : copy.layers) {
    if (auto* cache = std::get_if<KvCache>(&layer)) {
      *cache = {cache->keys.clone(), cache->values.clone()};
    } else {
      auto& state = std::get<RecurrentState>(layer).state;
      state = state.clone();
    }
  }
  if (first_token.defined()) copy.first_token = first_token.clone();
  return copy;
}

int64_t cache_bytes(const ModelConfig& config, int64_t tokens) {
  int64_t sum = 0;
  for (const MixerType type : config.mixer_types) {
    switch (type) {
      case MixerType::kAttention:
        sum += 2 * 2 * tokens * config.num_key_value_heads * config.head_dim;
        break;
      case MixerType::kLightning:
        sum += 4 * config.lightning_nh * config.lightning_head_dim * config.lightning_head_dim;
        break;
    }
  }
  return sum;
}

}  // namespace hypenet
