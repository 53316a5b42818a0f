// Sizes of pages and states, and their allocation.
#include "model/decode_state.h"

#include <cmath>

namespace hypenet {
namespace {

int64_t bytes_of(const Tensor& x) { return x.numel() * static_cast<int64_t>(x.element_size()); }

int64_t layers_of(const ModelConfig& config, MixerType type) {
  return std::count(config.mixer_types.begin(), config.mixer_types.end(), type);
}

}  // namespace

DecodeState::DecodeState(const ModelConfig& config, const MemorySizes& sizes,
                         const MemoryTypes& types, torch::Device device)
    : sizes(sizes) {
  const int64_t H = config.lightning_nh, d = config.lightning_head_dim;
  const auto in_type = [&](torch::ScalarType type) {
    return torch::TensorOptions(type).device(device);
  };
  const auto pages = [&] {
    return torch::empty(
        {sizes.pages, sizes.page_tokens, config.num_key_value_heads, config.head_dim},
        in_type(types.cache));
  };
  for (const MixerType type : config.mixer_types) {
    switch (type) {
      case MixerType::kAttention:
        layers.emplace_back(KvPages{pages(), pages()});
        break;
      case MixerType::kLightning:
        layers.emplace_back(
            RecurrentStates{torch::zeros({sizes.slots, H, d, d}, in_type(types.state))});
        break;
    }
  }
}

void DecodeState::clear_slot(int64_t slot) {
  for (auto& layer : layers) {
    if (auto* memory = std::get_if<RecurrentStates>(&layer)) memory->states[slot].zero_();
  }
}

void DecodeState::poison(int64_t slot, const std::vector<int32_t>& pages) {
  for (auto& layer : layers) {
    if (auto* memory = std::get_if<RecurrentStates>(&layer)) {
      memory->states[slot].fill_(NAN);
      continue;
    }
    const auto& cache = std::get<KvPages>(layer);
    for (const int32_t page : pages) {
      cache.keys[page].fill_(NAN), cache.values[page].fill_(NAN);
    }
  }
}

int64_t DecodeState::bytes() const {
  int64_t sum = 0;
  for (const auto& layer : layers) {
    if (const auto* cache = std::get_if<KvPages>(&layer)) {
      sum += bytes_of(cache->keys) + bytes_of(cache->values);
    } else {
      sum += bytes_of(std::get<RecurrentStates>(layer).states);
    }
  }
  return sum;
}

int64_t slot_bytes(const ModelConfig& config, const MemoryTypes& types) {
  const int64_t d = config.lightning_head_dim;
  return layers_of(config, MixerType::kLightning) * config.lightning_nh * d * d *
         static_cast<int64_t>(c10::elementSize(types.state));
}

int64_t page_bytes(const ModelConfig& config, const MemoryTypes& types, int64_t page_tokens) {
  return layers_of(config, MixerType::kAttention) * 2 * page_tokens * config.num_key_value_heads *
         config.head_dim * static_cast<int64_t>(c10::elementSize(types.cache));
}

int64_t cache_bytes(const ModelConfig& config, int64_t tokens) {
  const MemoryTypes types{torch::kBFloat16, torch::kFloat32};
  return slot_bytes(config, types) + page_bytes(config, types, tokens);
}

}  // namespace hypenet
