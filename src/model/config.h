// ModelConfig: config.json of Qwen3, Qwen2, Llama and HypeNet, in the published keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

enum class Architecture { kQwen3, kQwen2, kLlama, kHypeNet };
enum class MixerType { kAttention, kLightning };

std::string_view to_string(MixerType type);  // "attn", "lightning-attn"

/// attn_logits_scaling: what multiplies an attention layer's queries at inference (s_t of HyPE,
/// docs/halo.md).
struct LogitsScaling {
  enum class Kind { kNone, kConstant, kLogPosition } kind = Kind::kNone;
  double value = 1;  // the constant, or a of s_t = log(t + a) / log(a)
  bool operator==(const LogitsScaling&) const = default;
};

/// "hype <a>" | "hype" (a = 362) | number | null, both ways.
LogitsScaling parse_logits_scaling(const Json& json, const std::string& place);
Json to_json(const LogitsScaling& scaling);

/// Llama 3's frequency scaling (rope_scaling with rope_type "llama3").
struct Llama3RopeScaling {
  double factor = 8, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 8192;
};

/// Everything the model's forward needs; sizes in the paper's letters: D hidden_size, L
/// num_hidden_layers, H num_attention_heads, G num_key_value_heads, d head_dim, V vocab_size.
struct ModelConfig {
  Architecture architecture = Architecture::kQwen3;
  int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0, vocab_size = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6, rope_theta = 10000;
  std::optional<Llama3RopeScaling> rope_scaling;
  bool tie_word_embeddings = false;
  bool attention_bias = false;         // biases on q, k, v (Qwen2 always has them)
  bool attention_output_bias = false;  // bias on o_proj (Llama and Qwen3 with attention_bias)
  bool has_qk_norm = false;            // of attention layers
  std::optional<int64_t> bos_token_id, eos_token_id;

  // HypeNet only; a teacher has mixer_types all "attn", rope in attention, no gate.
  std::vector<MixerType> mixer_types;  // [L]
  bool attn_use_rope = true;
  bool attn_use_output_gate = false;
  LogitsScaling attn_logits_scaling;
  int64_t lightning_nh = 0, lightning_nkv = 0, lightning_head_dim = 0;
  std::string lightning_scale = "1/sqrt(d)";  // or "1/d", else 1
  bool lightning_use_rope = true, lightning_use_qk_norm = true;
  bool lightning_use_output_norm = true, lightning_use_output_gate = true;
  std::string torch_dtype = "bfloat16";

  /// The factor that "lightning_scale" names for lightning_head_dim.
  double lightning_scale_value() const;
};

/// Throws Error naming key, expected and found for sizes that no model has, heads that do not
/// divide, and counts that disagree; for configs that code put together.
void check_model_config(const ModelConfig& config, const std::string& place);

/// Reads config.json (rope_theta or rope_parameters, torch_dtype or dtype). Throws Error naming
/// key, expected, found for an unknown architecture, a missing or impossible size, heads that do
/// not divide, an unsupported value.
ModelConfig parse_model_config(const Json& json, const std::string& place);

/// config.json of this model in the published keys of its architecture; transformers reads it back
/// where it knows the architecture.
Json to_json(const ModelConfig& config);

}  // namespace hypenet
