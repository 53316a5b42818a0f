// Whatever is done to a layer's memory is done to each of its tensors: to the rows of slots of a
// recurrent layer, to the rows of pages of another.
#include "model/decode_state.h"

#include <c10/util/accumulate.h>

#include "model/channel_mix.h"
#include "model/mixers/mixer_kind.h"

namespace hypenet {
namespace {

/// The tensors of a layer's memory; their first dimension is that of slots, or of pages.
std::vector<Tensor> tensors_of(const LayerMemory& layer) {
  if (const auto* pages = std::get_if<KvPages>(&layer)) return pages->tensors();
  return std::get<RecurrentStates>(layer).parts;
}

/// The rows of such a tensor that are a sequence's.
std::vector<int64_t> rows_of(const LayerMemory& layer, const PlaceInMemory& place) {
  if (std::holds_alternative<RecurrentStates>(layer)) {
    return place.slot == PlaceInMemory::kNoSlot ? std::vector<int64_t>() : std::vector{place.slot};
  }
  return {place.pages.begin(), place.pages.end()};
}

/// All of a tensor, a view.
Tensor bytes_of(const Tensor& x) { return x.flatten().view(torch::kUInt8); }

/// What a layer of this kind remembers of a sequence, and its block beside the mixer.
std::vector<StatePart> parts_of(const MixerKind& kind, const ModelConfig& config) {
  std::vector<StatePart> parts = kind.parts(config);
  if (config.blocks.feed_forward == BlockForm::FeedForward::kChannelMix) {
    parts.push_back(channel_mix_part(config));
  }
  return parts;
}

int64_t layers_in_pages(const ModelConfig& config) {
  return std::ranges::count_if(config.mixer_types,
                               [](const MixerKind* kind) { return !kind->is_recurrent; });
}

}  // namespace

MemoryTypes memory_types(torch::ScalarType weights, torch::ScalarType compute) {
  const bool is_double = compute == torch::kFloat64;
  return {weights == torch::kBFloat16 ? torch::kBFloat16 : compute,
          is_double ? torch::kFloat64 : torch::kFloat32};
}

void RecurrentStates::clear(int64_t slot) {
  for (Tensor& part : parts) part[slot].zero_();
}

DecodeState::DecodeState(const ModelConfig& config, const MemorySizes& sizes,
                         const MemoryTypes& types, torch::Device device)
    : sizes(sizes) {
  const auto in_type = [&](torch::ScalarType type) {
    return torch::TensorOptions(type).device(device);
  };
  const auto pages = {sizes.pages, sizes.page_tokens, config.num_key_value_heads, config.head_dim};
  for (const MixerKind* kind : config.mixer_types) {
    if (kind->is_recurrent) {
      layers.emplace_back(new_states(*kind, config, sizes.slots, in_type(types.state)));
    } else {
      layers.emplace_back(new_kv_pages(pages, in_type(types.cache)));
    }
  }
}

void DecodeState::clear_slot(int64_t slot) {
  for (auto& layer : layers) {
    if (auto* states = std::get_if<RecurrentStates>(&layer)) states->clear(slot);
  }
}

void DecodeState::copy(const PlaceInMemory& from, const PlaceInMemory& to) {
  HYPENET_CHECK(from.pages.size() == to.pages.size(), "memory: copy: expected ", from.pages.size(),
                " pages, found ", to.pages.size());
  for (const auto& layer : layers) {
    const auto sources = rows_of(layer, from), targets = rows_of(layer, to);
    for (const Tensor& tensor : tensors_of(layer)) {
      for (size_t i = 0; i < sources.size(); ++i) tensor[targets[i]].copy_(tensor[sources[i]]);
    }
  }
}

void DecodeState::poison(const PlaceInMemory& place) {
  for (const auto& layer : layers) {
    for (const Tensor& tensor : tensors_of(layer)) {
      // All bits set: not a number in every floating type.
      for (const int64_t row : rows_of(layer, place)) bytes_of(tensor[row]).fill_(0xFF);
    }
  }
}

std::vector<Tensor> DecodeState::bytes_of_slot(int64_t slot) const {
  std::vector<Tensor> bytes;
  for (const auto& layer : layers) {
    if (std::holds_alternative<KvPages>(layer)) continue;
    for (const Tensor& tensor : tensors_of(layer)) bytes.push_back(bytes_of(tensor[slot]));
  }
  return bytes;
}

std::vector<Tensor> DecodeState::bytes_of_page(int32_t page) const {
  std::vector<Tensor> bytes;
  for (const auto& layer : layers) {
    if (!std::holds_alternative<KvPages>(layer)) continue;
    for (const Tensor& tensor : tensors_of(layer)) bytes.push_back(bytes_of(tensor[page]));
  }
  return bytes;
}

void join_bytes(const std::vector<Tensor>& parts, const Tensor& whole) {
  int64_t place = 0;
  for (const Tensor& part : parts) {
    whole.narrow(0, place, part.size(0)).copy_(part, /*non_blocking=*/true);
    place += part.size(0);
  }
}

void part_bytes(const Tensor& whole, const std::vector<Tensor>& parts) {
  int64_t place = 0;
  for (const Tensor& part : parts) {
    part.copy_(whole.narrow(0, place, part.size(0)), /*non_blocking=*/true);
    place += part.size(0);
  }
}

int64_t DecodeState::bytes() const {
  int64_t sum = 0;
  for (const auto& layer : layers) {
    for (const Tensor& tensor : tensors_of(layer)) sum += static_cast<int64_t>(tensor.nbytes());
  }
  return sum;
}

RecurrentStates new_states(const MixerKind& kind, const ModelConfig& config, int64_t slots,
                           const torch::TensorOptions& options) {
  RecurrentStates states;
  for (const StatePart& part : parts_of(kind, config)) {
    std::vector<int64_t> shape = {slots};
    shape.insert(shape.end(), part.shape.begin(), part.shape.end());
    states.parts.push_back(torch::zeros(shape, options));
  }
  return states;
}

int64_t slot_bytes(const ModelConfig& config, const MemoryTypes& types) {
  int64_t elements = 0;
  for (const MixerKind* kind : config.mixer_types) {
    if (!kind->is_recurrent) continue;
    for (const StatePart& part : parts_of(*kind, config)) {
      elements += c10::multiply_integers(part.shape);
    }
  }
  return elements * static_cast<int64_t>(c10::elementSize(types.state));
}

int64_t page_bytes(const ModelConfig& config, const MemoryTypes& types, int64_t page_tokens) {
  return layers_in_pages(config) * page_tokens *
         kv_token_bytes(config.num_key_value_heads, config.head_dim, types.cache);
}

int64_t cache_bytes(const ModelConfig& config, int64_t tokens) {
  const MemoryTypes types{torch::kBFloat16, torch::kFloat32};
  return slot_bytes(config, types) + page_bytes(config, types, tokens);
}

}  // namespace hypenet
