// ModelConfig: config.json of Qwen3, Qwen2, Llama and HypeNet, in the published keys; published
// hybrids (model/published_config.h) are read into the same struct.
#pragma once

#include <any>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "base/json.h"

namespace hypenet {

struct MixerKind;  // model/mixers/mixer_kind.h

/// Those behind HypeNet are only read.
enum class Architecture {
  kQwen3,
  kQwen2,
  kLlama,
  kHypeNet,
  kQwen3Next,
  kQwen35,
  kGatedDeltaNet,
  kKda,
  kKimiLinear,
  kRadlads,
  kRwkv7,
  kMamba2,
  kLlamba,
  kMambaInLlama,
  kJetNemotron
};

/// Whether it is a Transformer, which a conversion may begin with.
constexpr bool is_transformer(Architecture architecture) {
  return architecture < Architecture::kHypeNet;
}

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
  template <class Visitor>
  void visit(Visitor&& field) {
    std::string type = "llama3";  // no other is read
    field("rope_type", type);
    field("factor", factor);
    field("low_freq_factor", low_freq_factor);
    field("high_freq_factor", high_freq_factor);
    field("original_max_position_embeddings", original_max_position_embeddings);
  }
};

/// What mixers of each kind have beside the sizes of the model: one struct a kind, found by its
/// type, which stands beside the mixer (LightningConfig in model/mixers/lightning.h).
class MixerConfigs {
 public:
  /// The struct, made with its defaults when there was none.
  template <class Config>
  Config& of() {
    std::any& held = by_type_[typeid(Config)];
    if (!held.has_value()) held = Config();
    return std::any_cast<Config&>(held);
  }
  template <class Config>
  const Config& of() const {
    static const Config defaults;
    const auto found = by_type_.find(typeid(Config));
    return found == by_type_.end() ? defaults : std::any_cast<const Config&>(found->second);
  }

 private:
  std::map<std::type_index, std::any> by_type_;
};

/// How a layer's block is made where it is not a Transformer's: two RMSNorms, a mixer and an MLP.
/// Only hybrids of other projects have such.
struct BlockForm {
  enum class FeedForward { kSwiglu, kChannelMix, kNone } feed_forward = FeedForward::kSwiglu;
  bool has_layer_norms = false;     // for RMSNorms: with bias, and without the mean
  bool has_embedding_norm = false;  // one more in front of the first layer
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
  std::string hidden_act = "silu", torch_dtype = "bfloat16";

  // Hybrids only; a teacher has mixer_types all "attn", rope in attention, no gate.
  std::vector<const MixerKind*> mixer_types;  // [L]
  bool attn_use_rope = true;
  bool attn_use_output_gate = false;
  LogitsScaling attn_logits_scaling;
  MixerConfigs mixers;  // keys of their own in config.json

  // Hybrids of other projects only.
  int64_t turned_size = 0;       // of a head of attention, what RoPE turns; 0: all of it
  bool has_float_norms = false;  // norms' weights are float32, whatever type the others have
  BlockForm blocks;

  /// The keys of config.json but for the architecture's name and the mixers' own.
  template <class Visitor>
  void visit(Visitor&& field) {
    field("attention_bias", attention_bias);
    field("bos_token_id", bos_token_id);
    field("eos_token_id", eos_token_id);
    field("head_dim", head_dim);
    field("hidden_act", hidden_act);
    field("hidden_size", hidden_size);
    field("intermediate_size", intermediate_size);
    field("max_position_embeddings", max_position_embeddings);
    field("num_attention_heads", num_attention_heads);
    field("num_hidden_layers", num_hidden_layers);
    field("num_key_value_heads", num_key_value_heads);
    field("rms_norm_eps", rms_norm_eps);
    field("rope_scaling", rope_scaling);
    field("rope_theta", rope_theta);
    field("tie_word_embeddings", tie_word_embeddings);
    field("torch_dtype", torch_dtype);
    field("vocab_size", vocab_size);
    if (is_transformer(architecture)) return;
    field("attention_output_bias", attention_output_bias);
    field("attn_logits_scaling", attn_logits_scaling);
    field("attn_use_output_gate", attn_use_output_gate);
    field("attn_use_qk_norm", has_qk_norm);
    field("attn_use_rope", attn_use_rope);
    field("mixer_types", mixer_types);
  }
};

/// What reads and writes fields of these types (base/json.h).
void read_value(const Json& json, const std::string& place, LogitsScaling& scaling);
Json write_value(const LogitsScaling& scaling);
void read_value(const Json& json, const std::string& place, const MixerKind*& kind);
Json write_value(const MixerKind* kind);

/// The kinds of mixer that the model has, each once.
std::vector<const MixerKind*> kinds_of(const ModelConfig& config);

/// "Qwen3", "HypeNet".
std::string_view architecture_name(Architecture architecture);

/// Throws Error naming key, expected and found for sizes that no model has, heads that do not
/// divide, and counts that disagree; for configs that code put together.
void check_model_config(const ModelConfig& config, const std::string& place);

/// The same for heads of which `groups` share keys and values.
void check_divides(const std::string& place, const char* heads_key, int64_t heads, const char* key,
                   int64_t groups);
void check_size(const std::string& place, const char* key, int64_t value);

/// Throws Error for an architecture that is only read.
void check_is_written(const ModelConfig& config, const std::string& place);

/// Reads config.json (rope_theta or rope_parameters, torch_dtype or dtype). Throws Error naming
/// key, expected, found for an unknown architecture, a missing or impossible size, heads that do
/// not divide, an unsupported value, and, in a HypeNet's, a key that nobody knows.
/// `tensors` are the folder's names: some published variants differ in these alone.
ModelConfig parse_model_config(const Json& json, const std::string& place,
                               const std::vector<std::string>& tensors = {});

/// config.json of this model in the published keys of its architecture; transformers reads it back
/// where it knows the architecture. Throws Error as check_is_written.
Json to_json(const ModelConfig& config);

}  // namespace hypenet
