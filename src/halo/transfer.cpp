// What is the same for every mixer.
#include "halo/transfer.h"

namespace hypenet {
namespace {

bool is_mixer_tensor(const std::string& name) {
  return name.find(".self_attn.") != std::string::npos;
}

}  // namespace

ModelConfig hypenet_config(const ModelConfig& teacher, std::vector<const MixerKind*> mixer_types) {
  HYPENET_CHECK(is_transformer(teacher.architecture),
                "teacher: expected a Transformer (Qwen3, Qwen2 or Llama), found a ",
                architecture_name(teacher.architecture));
  ModelConfig config = teacher;
  config.architecture = Architecture::kHypeNet;
  config.mixer_types = std::move(mixer_types);
  config.attn_use_rope = false;
  config.attn_use_output_gate = true;
  config.attn_logits_scaling = {};
  config.max_position_embeddings = 1048576;
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->is_recurrent) twin_rule(kind->name, "twins").configure(teacher, config);
  }
  return config;
}

NamedTensors transfer_weights(const Checkpoint& teacher, const ModelConfig& config,
                              const TransferOptions& options) {
  NamedTensors tensors;
  for (const auto& name : teacher.names()) {
    if (!is_mixer_tensor(name)) tensors.emplace_back(name, teacher.tensor(name));
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const MixerKind* kind = config.mixer_types[static_cast<size_t>(layer)];
    const TeacherAttention attention(teacher, config, layer, options);
    twin_rule(kind->name, "twins").transfer(attention, config, tensors);
  }
  return tensors;
}

}  // namespace hypenet
