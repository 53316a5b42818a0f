// Writing config.json in the published keys, and the two forms of attn_logits_scaling.
#include <array>
#include <charconv>
#include <cmath>

#include "model/config.h"

namespace hypenet {
namespace {

constexpr double kDefaultLogBase = 362;

std::string_view class_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen3:
      return "Qwen3ForCausalLM";
    case Architecture::kQwen2:
      return "Qwen2ForCausalLM";
    case Architecture::kLlama:
      return "LlamaForCausalLM";
    case Architecture::kHypeNet:
      return "HypeNetForCausalLM";
  }
  throw Error("config: unknown architecture");
}

std::string_view model_type(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen3:
      return "qwen3";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kLlama:
      return "llama";
    case Architecture::kHypeNet:
      return "hypenet";
  }
  throw Error("config: unknown architecture");
}

Json rope_scaling_json(const std::optional<Llama3RopeScaling>& scaling) {
  if (!scaling) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", scaling->factor},
          {"low_freq_factor", scaling->low_freq_factor},
          {"high_freq_factor", scaling->high_freq_factor},
          {"original_max_position_embeddings", scaling->original_max_position_embeddings}};
}

void add_hypenet_keys(const ModelConfig& config, Json& json) {
  json["attention_output_bias"] = config.attention_output_bias;
  json["attn_logits_scaling"] = to_json(config.attn_logits_scaling);
  json["attn_use_output_gate"] = config.attn_use_output_gate;
  json["attn_use_qk_norm"] = config.has_qk_norm;
  json["attn_use_rope"] = config.attn_use_rope;
  json["expand_kv_proj"] = config.lightning_nkv == config.lightning_nh;
  json["lightning_head_dim"] = config.lightning_head_dim;
  json["lightning_nh"] = config.lightning_nh;
  json["lightning_nkv"] = config.lightning_nkv;
  json["lightning_rope_scaling"] = rope_scaling_json(config.rope_scaling);
  json["lightning_scale"] = config.lightning_scale;
  json["lightning_use_output_gate"] = config.lightning_use_output_gate;
  json["lightning_use_output_norm"] = config.lightning_use_output_norm;
  json["lightning_use_qk_norm"] = config.lightning_use_qk_norm;
  json["lightning_use_rope"] = config.lightning_use_rope;
  json["lightning_use_short_conv"] = false;
  json["mixer_types"] = Json::array();
  for (const MixerType type : config.mixer_types) json["mixer_types"].push_back(to_string(type));
}

/// All digits that tell the number from its neighbours, without an exponent.
std::string plain_number(double value) {
  std::array<char, 400> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), value, std::chars_format::fixed).ptr;
  return {digits.begin(), end};
}

}  // namespace

std::string_view to_string(MixerType type) {
  switch (type) {
    case MixerType::kAttention:
      return "attn";
    case MixerType::kLightning:
      return "lightning-attn";
  }
  throw Error("config: unknown mixer type");
}

LogitsScaling parse_logits_scaling(const Json& json, const std::string& place) {
  using Kind = LogitsScaling::Kind;
  if (json.is_null()) return {};
  if (json.is_number()) return {Kind::kConstant, json.get<double>()};
  const std::string text = json.is_string() ? json.get<std::string>() : std::string();
  if (text == "hype") return {Kind::kLogPosition, kDefaultLogBase};
  double base = 0;
  const char* end = text.data() + text.size();
  if (text.starts_with("hype ")) {
    const auto [stop, error] = std::from_chars(text.data() + 5, end, base);
    if (stop != end || error != std::errc() || !std::isfinite(base)) base = 0;
  }
  HYPENET_CHECK(base > 1, place,
                ": expected null, a number, \"hype\" or \"hype <a>\" with a > 1, found ",
                json.dump());
  return {Kind::kLogPosition, base};
}

Json to_json(const LogitsScaling& scaling) {
  switch (scaling.kind) {
    case LogitsScaling::Kind::kNone:
      return nullptr;
    case LogitsScaling::Kind::kConstant:
      return scaling.value;
    case LogitsScaling::Kind::kLogPosition:
      return "hype " + plain_number(scaling.value);
  }
  throw Error("config: unknown logits scaling");
}

Json to_json(const ModelConfig& config) {
  const auto optional = [](std::optional<int64_t> id) { return id ? Json(*id) : Json(nullptr); };
  Json json = {{"architectures", {class_name(config.architecture)}},
               {"model_type", model_type(config.architecture)},
               {"attention_bias", config.attention_bias},
               {"bos_token_id", optional(config.bos_token_id)},
               {"eos_token_id", optional(config.eos_token_id)},
               {"head_dim", config.head_dim},
               {"hidden_act", "silu"},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"max_position_embeddings", config.max_position_embeddings},
               {"num_attention_heads", config.num_attention_heads},
               {"num_hidden_layers", config.num_hidden_layers},
               {"num_key_value_heads", config.num_key_value_heads},
               {"rms_norm_eps", config.rms_norm_eps},
               {"rope_scaling", rope_scaling_json(config.rope_scaling)},
               {"rope_theta", config.rope_theta},
               {"tie_word_embeddings", config.tie_word_embeddings},
               {"torch_dtype", config.torch_dtype},
               {"vocab_size", config.vocab_size}};
  if (config.architecture == Architecture::kHypeNet) add_hypenet_keys(config, json);
  return json;
}

}  // namespace hypenet
