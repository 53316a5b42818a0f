// Weight transfer: names and shapes, no arithmetic.
#include "halo/transfer.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/random.h"

namespace hypenet {
namespace {

/// Repeats each key/value head H/G times in place: weight [G * d, D] or bias [G * d] -> [H * d,
/// ..].
Tensor expand_heads(const Tensor& x, const ModelConfig& config) {
  const int64_t repeats = config.num_attention_heads / config.num_key_value_heads;
  std::vector<int64_t> split = {config.num_key_value_heads, config.head_dim};
  split.insert(split.end(), x.sizes().begin() + 1, x.sizes().end());
  return x.reshape(split).repeat_interleave(repeats, 0).flatten(0, 1);
}

bool is_mixer_tensor(const std::string& name) {
  return name.find(".self_attn.") != std::string::npos;
}

void add_twin(const Checkpoint& teacher, const ModelConfig& config, const TransferOptions& options,
              int64_t layer, NamedTensors& tensors) {
  const auto name = [&](std::string_view part) { return mixer_tensor(layer, part); };
  const auto type = teacher.tensor(name("q_proj.weight")).scalar_type();
  for (const std::string part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    for (const std::string kind : {".weight", ".bias"}) {
      if (!teacher.contains(name(part + kind))) continue;
      const Tensor tensor = teacher.tensor(name(part + kind));
      const bool is_key_or_value = part == "k_proj" || part == "v_proj";
      tensors.emplace_back(name(part + kind),
                           is_key_or_value ? expand_heads(tensor, config) : tensor);
    }
  }
  const auto ones = [&](int64_t size) { return torch::ones({size}, type); };
  for (const std::string norm : {"q_norm.weight", "k_norm.weight"}) {
    const bool has_norm = teacher.contains(name(norm));
    tensors.emplace_back(name(norm), has_norm ? teacher.tensor(name(norm)) : ones(config.head_dim));
  }
  tensors.emplace_back(name("o_norm.weight"), ones(config.num_attention_heads * config.head_dim));
  tensors.emplace_back(name("z_proj.weight"),
                       new_gate(config, layer, options.gate_std, options.seed, type));
}

}  // namespace

std::string mixer_tensor(int64_t layer, std::string_view name) {
  return concat("model.layers.", layer, ".self_attn.", name);
}

ModelConfig hypenet_config(const ModelConfig& teacher, std::vector<MixerType> mixer_types) {
  HYPENET_CHECK(teacher.architecture != Architecture::kHypeNet,
                "teacher: expected a Transformer (Qwen3, Qwen2 or Llama), found a HypeNet");
  ModelConfig config = teacher;
  config.architecture = Architecture::kHypeNet;
  config.mixer_types = std::move(mixer_types);
  config.attn_use_rope = false;
  config.attn_use_output_gate = true;
  config.attn_logits_scaling = {};
  config.lightning_nh = config.lightning_nkv = teacher.num_attention_heads;
  config.lightning_head_dim = teacher.head_dim;
  config.max_position_embeddings = 1048576;
  return config;
}

Tensor new_gate(const ModelConfig& config, int64_t layer, double std, uint64_t seed,
                torch::ScalarType type) {
  const auto generator = at::detail::createCPUGenerator(Random(seed, {layer}).next());
  const std::vector<int64_t> shape = {config.num_attention_heads * config.head_dim,
                                      config.hidden_size};
  return (torch::randn(shape, generator, torch::kFloat32) * std).to(type);
}

NamedTensors transfer_weights(const Checkpoint& teacher, const ModelConfig& config,
                              const TransferOptions& options) {
  NamedTensors tensors;
  for (const auto& name : teacher.names()) {
    if (!is_mixer_tensor(name)) tensors.emplace_back(name, teacher.tensor(name));
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    add_twin(teacher, config, options, layer, tensors);
  }
  return tensors;
}

}  // namespace hypenet
