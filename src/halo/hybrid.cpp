// Building the hybrid.
#include "halo/hybrid.h"

#include <algorithm>

#include "model/mixers/attention.h"
#include "model/weights.h"

namespace hypenet {
namespace {

std::vector<const MixerKind*> with_attention(std::vector<const MixerKind*> types,
                                             const std::vector<int64_t>& attention_layers) {
  const int64_t layers = std::ssize(types);
  for (const int64_t layer : attention_layers) {
    HYPENET_CHECK(layer >= 0 && layer < layers, "attention layers: expected layers from 0 to ",
                  layers - 1, ", found ", layer);
    types[static_cast<size_t>(layer)] = &kAttentionMixer;
  }
  return types;
}

}  // namespace

std::vector<const MixerKind*> mixer_types(int64_t layers,
                                          const std::vector<int64_t>& attention_layers,
                                          std::string_view mixer) {
  const MixerKind* const kind = twin_rule(mixer, "mixer").mixer;
  return with_attention(std::vector(static_cast<size_t>(layers), kind), attention_layers);
}

std::vector<const MixerKind*> mixer_types(const std::vector<std::string>& mixers,
                                          const std::vector<int64_t>& attention_layers) {
  std::vector<const MixerKind*> types;
  types.reserve(mixers.size());
  for (const std::string& mixer : mixers) types.push_back(twin_rule(mixer, "mixers").mixer);
  return with_attention(std::move(types), attention_layers);
}

NamedTensors hybrid_weights(const Checkpoint& teacher, const Checkpoint& aligned,
                            const std::vector<int64_t>& attention_layers,
                            const TransferOptions& options) {
  const ModelConfig config = read_model_config(teacher);
  const auto is_replaced = [&](const std::string& name) {
    return std::any_of(attention_layers.begin(), attention_layers.end(),
                       [&](int64_t layer) { return name.starts_with(mixer_tensor(layer, "")); });
  };
  NamedTensors tensors;
  for (const auto& name : aligned.names()) {
    if (!is_replaced(name)) tensors.emplace_back(name, aligned.tensor(name));
  }
  for (const auto& name : teacher.names()) {
    if (is_replaced(name)) tensors.emplace_back(name, teacher.tensor(name));
  }
  const std::vector<int64_t> shape = {config.num_attention_heads * config.head_dim,
                                      config.hidden_size};
  for (const int64_t layer : attention_layers) {
    const std::string norm = concat("model.layers.", layer, ".input_layernorm.weight");
    const auto type = aligned.tensor(norm).scalar_type();
    tensors.emplace_back(mixer_tensor(layer, "o_gate.weight"),
                         new_gate(shape, layer, options, type));
  }
  return tensors;
}

}  // namespace hypenet
