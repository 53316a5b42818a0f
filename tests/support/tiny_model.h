// Small configs for tests of whatever runs a model.
#pragma once

#include "model/mixers/attention.h"
#include "model/mixers/lightning.h"

namespace hypenet::testing_support {

/// A Qwen3 teacher of two layers: D 32, H 4, G 2, d 16, V 64.
inline ModelConfig tiny_teacher_config() {
  ModelConfig config;
  config.hidden_size = 32, config.intermediate_size = 48, config.num_hidden_layers = 2;
  config.vocab_size = 64, config.num_attention_heads = 4, config.num_key_value_heads = 2;
  config.head_dim = 16, config.has_qk_norm = true, config.tie_word_embeddings = true;
  config.mixer_types.assign(2, &kAttentionMixer);
  return config;
}

/// A HypeNet of three layers of the same sizes: lightning, attention, lightning.
inline ModelConfig tiny_hypenet_config() {
  ModelConfig config = tiny_teacher_config();
  config.architecture = Architecture::kHypeNet;
  config.num_hidden_layers = 3;
  config.mixer_types = {&kLightningMixer, &kAttentionMixer, &kLightningMixer};
  config.attn_use_rope = false, config.attn_use_output_gate = true;
  config.mixers.of<LightningConfig>() = {.nh = 4, .nkv = 4, .head_dim = 16};
  return config;
}

}  // namespace hypenet::testing_support
