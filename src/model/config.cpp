// Reading config.json; writing is in config_json.cpp. Keys that no forward needs are passed over.
#include "model/config.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace hypenet {
namespace {

constexpr int64_t kMostOfASize = int64_t{1} << 20;  // of no model; products of three fit int64
constexpr std::array<std::string_view, 3> kTypes = {"float32", "float16", "bfloat16"};

/// The keys of one JSON object, each error with the file and the key in front.
class Keys {
 public:
  Keys(const Json& json, const std::string& place) : json_(json), place_(place) {
    HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
  }

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  std::string at(const char* key) const { return place_ + ": " + key; }

  const Json& json(const char* key) const {
    HYPENET_CHECK(json_.contains(key), at(key), ": expected a value, found no such key");
    return json_.at(key);
  }

  template <class T>
  T get(const char* key) const {
    T value{};
    read_fields(json(key), at(key), value);
    return value;
  }

  template <class T>
  T get(const char* key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }

  /// The value may be absent; when it is there, it must be this one.
  template <class T>
  void require(const char* key, const T& only) const {
    const T found = get<T>(key, only);
    HYPENET_CHECK(found == only, at(key), ": expected ", Json(only).dump(), ", found ",
                  Json(found).dump());
  }

 private:
  const Json& json_;
  const std::string& place_;
};

Architecture read_architecture(const Keys& keys) {
  const auto names = keys.get<std::vector<std::string>>("architectures");
  const std::string name = names.empty() ? "nothing" : names.front();
  if (name == "Qwen3ForCausalLM") return Architecture::kQwen3;
  if (name == "Qwen2ForCausalLM") return Architecture::kQwen2;
  if (name == "LlamaForCausalLM") return Architecture::kLlama;
  if (name == "HypeNetForCausalLM") return Architecture::kHypeNet;
  throw Error(concat(keys.at("architectures"),
                     ": expected Qwen3ForCausalLM, Qwen2ForCausalLM, LlamaForCausalLM or "
                     "HypeNetForCausalLM, found ",
                     name));
}

MixerType read_mixer(const std::string& name, const std::string& place) {
  if (name == "attn") return MixerType::kAttention;
  if (name == "lightning-attn") return MixerType::kLightning;
  throw Error(concat(place, ": expected \"attn\" or \"lightning-attn\", found \"", name, "\""));
}

/// bos and eos may be one id, a list (the first is taken), or null.
std::optional<int64_t> read_token(const Keys& keys, const char* key) {
  if (!keys.has(key)) return std::nullopt;
  if (!keys.json(key).is_array()) return keys.get<int64_t>(key);
  const auto ids = keys.get<std::vector<int64_t>>(key);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

/// rope_scaling (or rope_parameters): null, type "default", or "llama3".
std::optional<Llama3RopeScaling> read_rope_scaling(const Json& json, const std::string& place) {
  const Keys keys(json, place);
  for (const auto& [key, value] : json.items()) {
    HYPENET_CHECK(!value.is_object(), place,
                  ": expected one set of values for all layers, found one of its own for ", key);
  }
  keys.require("partial_rotary_factor", 1.0);
  const std::string type =
      keys.get<std::string>("rope_type", keys.get<std::string>("type", "default"));
  if (type == "default") return std::nullopt;
  HYPENET_CHECK(type == "llama3", keys.at("rope_type"),
                ": expected \"default\" or \"llama3\", found \"", type, "\"");
  Llama3RopeScaling scaling;
  scaling.factor = keys.get<double>("factor");
  scaling.low_freq_factor = keys.get<double>("low_freq_factor");
  scaling.high_freq_factor = keys.get<double>("high_freq_factor");
  scaling.original_max_position_embeddings = keys.get<int64_t>("original_max_position_embeddings");
  HYPENET_CHECK(scaling.high_freq_factor > scaling.low_freq_factor, keys.at("high_freq_factor"),
                ": expected more than low_freq_factor ", scaling.low_freq_factor, ", found ",
                scaling.high_freq_factor);
  return scaling;
}

void read_rope(const Keys& keys, ModelConfig& config) {
  config.rope_theta = keys.get<double>("rope_theta", config.rope_theta);
  keys.require("partial_rotary_factor", 1.0);
  const bool is_hypenet = config.architecture == Architecture::kHypeNet;
  for (const char* key : {"rope_parameters", "rope_scaling", "lightning_rope_scaling"}) {
    if (!keys.has(key) || (!is_hypenet && key[0] == 'l')) continue;
    const Json& rope = keys.json(key);
    config.rope_scaling = read_rope_scaling(rope, keys.at(key));
    config.rope_theta = Keys(rope, keys.at(key)).get<double>("rope_theta", config.rope_theta);
  }
}

void read_sizes(const Keys& keys, ModelConfig& config) {
  config.hidden_size = keys.get<int64_t>("hidden_size");
  config.intermediate_size = keys.get<int64_t>("intermediate_size");
  config.num_hidden_layers = keys.get<int64_t>("num_hidden_layers");
  config.vocab_size = keys.get<int64_t>("vocab_size");
  const int64_t H = config.num_attention_heads = keys.get<int64_t>("num_attention_heads");
  config.num_key_value_heads = keys.get<int64_t>("num_key_value_heads", H);
  // transformers gives every Qwen3 without the key a head size of 128.
  const bool is_qwen3 = config.architecture == Architecture::kQwen3;
  HYPENET_CHECK(H > 0, keys.at("num_attention_heads"), ": expected more than 0, found ", H);
  HYPENET_CHECK(keys.has("head_dim") || is_qwen3 || config.hidden_size % H == 0,
                keys.at("hidden_size"), ": expected a multiple of num_attention_heads ", H,
                ", found ", config.hidden_size);
  config.head_dim = keys.get<int64_t>("head_dim", is_qwen3 ? 128 : config.hidden_size / H);
  config.max_position_embeddings = keys.get<int64_t>("max_position_embeddings", 0);
  HYPENET_CHECK(config.max_position_embeddings >= 0, keys.at("max_position_embeddings"),
                ": expected 0 or more, found ", config.max_position_embeddings);
  config.rms_norm_eps = keys.get<double>("rms_norm_eps", config.rms_norm_eps);
}

void read_teacher(const Keys& keys, ModelConfig& config) {
  config.mixer_types.assign(std::clamp<int64_t>(config.num_hidden_layers, 0, kMostOfASize),
                            MixerType::kAttention);
  config.has_qk_norm = config.architecture == Architecture::kQwen3;
  const bool is_qwen2 = config.architecture == Architecture::kQwen2;
  const bool bias = keys.get<bool>("attention_bias", false);
  config.attention_bias = is_qwen2 || bias;
  config.attention_output_bias = !is_qwen2 && bias;
  keys.require("use_sliding_window", false);
  keys.require("mlp_bias", false);
  for (const auto& type : keys.get<std::vector<std::string>>("layer_types", {})) {
    HYPENET_CHECK(type == "full_attention", keys.at("layer_types"),
                  ": expected \"full_attention\", found \"", type, "\"");
  }
}

void read_hypenet(const Keys& keys, ModelConfig& config) {
  const auto mixers = keys.get<std::vector<std::string>>("mixer_types");
  for (size_t i = 0; i < mixers.size(); ++i) {
    config.mixer_types.push_back(
        read_mixer(mixers[i], concat(keys.at("mixer_types"), "[", i, "]")));
  }
  config.attention_bias = keys.get<bool>("attention_bias", false);
  config.attention_output_bias = keys.get<bool>("attention_output_bias", false);
  config.has_qk_norm = keys.get<bool>("attn_use_qk_norm", true);
  config.attn_use_rope = keys.get<bool>("attn_use_rope", false);
  config.attn_use_output_gate = keys.get<bool>("attn_use_output_gate", true);
  if (keys.has("attn_logits_scaling")) {
    config.attn_logits_scaling =
        parse_logits_scaling(keys.json("attn_logits_scaling"), keys.at("attn_logits_scaling"));
  }
  config.lightning_nh = keys.get<int64_t>("lightning_nh", config.num_attention_heads);
  config.lightning_nkv = keys.get<int64_t>("lightning_nkv", config.lightning_nh);
  config.lightning_head_dim = keys.get<int64_t>("lightning_head_dim", config.head_dim);
  config.lightning_scale = keys.get<std::string>("lightning_scale", config.lightning_scale);
  config.lightning_use_rope = keys.get<bool>("lightning_use_rope", true);
  config.lightning_use_qk_norm = keys.get<bool>("lightning_use_qk_norm", true);
  config.lightning_use_output_norm = keys.get<bool>("lightning_use_output_norm", true);
  config.lightning_use_output_gate = keys.get<bool>("lightning_use_output_gate", true);
  keys.require("lightning_use_short_conv", false);
}

void check_size(const std::string& place, const char* key, int64_t value) {
  HYPENET_CHECK(value > 0, place, ": ", key, ": expected more than 0, found ", value);
  HYPENET_CHECK(value <= kMostOfASize, place, ": ", key, ": expected at most ", kMostOfASize,
                ", found ", value);
}

void check_divides(const std::string& place, const char* heads_key, int64_t heads, const char* key,
                   int64_t groups) {
  check_size(place, heads_key, heads);
  check_size(place, key, groups);
  HYPENET_CHECK(heads % groups == 0, place, ": ", key, ": expected a divisor of ", heads_key, " ",
                heads, ", found ", groups);
}

void check_lightning_config(const ModelConfig& config, const std::string& place) {
  check_divides(place, "lightning_nh", config.lightning_nh, "lightning_nkv", config.lightning_nkv);
  check_size(place, "lightning_head_dim", config.lightning_head_dim);
  if (!config.lightning_use_rope) return;
  HYPENET_CHECK(config.lightning_head_dim % 2 == 0, place,
                ": lightning_head_dim: expected an even size (RoPE), found ",
                config.lightning_head_dim);
  HYPENET_CHECK(!config.attn_use_rope || config.lightning_head_dim == config.head_dim, place,
                ": lightning_head_dim: expected head_dim ", config.head_dim,
                " (both kinds of layers have RoPE), found ", config.lightning_head_dim);
}

}  // namespace

void check_model_config(const ModelConfig& config, const std::string& place) {
  check_size(place, "hidden_size", config.hidden_size);
  check_size(place, "intermediate_size", config.intermediate_size);
  check_size(place, "num_hidden_layers", config.num_hidden_layers);
  check_size(place, "vocab_size", config.vocab_size);
  check_size(place, "head_dim", config.head_dim);
  check_divides(place, "num_attention_heads", config.num_attention_heads, "num_key_value_heads",
                config.num_key_value_heads);
  const int64_t mixers = static_cast<int64_t>(config.mixer_types.size());
  HYPENET_CHECK(mixers == config.num_hidden_layers, place, ": mixer_types has ", mixers,
                " entries, num_hidden_layers is ", config.num_hidden_layers);
  HYPENET_CHECK(!config.attn_use_rope || config.head_dim % 2 == 0, place,
                ": head_dim: expected an even size (RoPE), found ", config.head_dim);
  HYPENET_CHECK(config.rope_theta > 0, place, ": rope_theta: expected more than 0, found ",
                config.rope_theta);
  if (config.architecture == Architecture::kHypeNet) check_lightning_config(config, place);
}

ModelConfig parse_model_config(const Json& json, const std::string& place) {
  const Keys keys(json, place);
  ModelConfig config;
  config.architecture = read_architecture(keys);
  keys.require<std::string>("hidden_act", "silu");
  read_sizes(keys, config);
  read_rope(keys, config);
  config.tie_word_embeddings = keys.get<bool>("tie_word_embeddings", false);
  config.bos_token_id = read_token(keys, "bos_token_id");
  config.eos_token_id = read_token(keys, "eos_token_id");
  const char* type_key = keys.has("dtype") ? "dtype" : "torch_dtype";
  config.torch_dtype = keys.get<std::string>(type_key, config.torch_dtype);
  HYPENET_CHECK(std::ranges::find(kTypes, config.torch_dtype) != kTypes.end(), keys.at(type_key),
                ": expected float32, float16 or bfloat16, found ", config.torch_dtype);
  config.architecture == Architecture::kHypeNet ? read_hypenet(keys, config)
                                                : read_teacher(keys, config);
  check_model_config(config, place);
  return config;
}

double ModelConfig::lightning_scale_value() const {
  if (lightning_scale == "1/sqrt(d)") return 1 / std::sqrt(static_cast<double>(lightning_head_dim));
  if (lightning_scale == "1/d") return 1.0 / static_cast<double>(lightning_head_dim);
  return 1;
}

}  // namespace hypenet
