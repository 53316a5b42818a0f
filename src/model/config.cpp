// A published config.json is brought into the keys that ModelConfig lists and then read by that
// list. What no forward needs is passed over in other projects' folders.
#include "model/config.h"

#include <algorithm>
#include <array>
#include <functional>

#include "model/config_keys.h"
#include "model/mixers/mixer_kind.h"
#include "model/published_config.h"
#include "model/published_words.h"
#include "store/published_names.h"

namespace hypenet {
namespace {

constexpr int64_t kMostOfASize = int64_t{1} << 20;  // of no model; products of three fit int64
constexpr std::array<std::string_view, 3> kTypes = {"float32", "float16", "bfloat16"};

constexpr Architecture kArchitectures[] = {Architecture::kQwen3, Architecture::kQwen2,
                                           Architecture::kLlama, Architecture::kHypeNet};

/// What the authors' code and transformers write into a HypeNet's config.json beside its own keys,
/// and mixers that begin keys there whether the model has them or not.
constexpr std::string_view kPassedOver[] = {"_attn_implementation",
                                            "_name_or_path",
                                            "attention_dropout",
                                            "auto_map",
                                            "fused_ce_loss",
                                            "gdn_attn_mode",
                                            "initializer_range",
                                            "lightning_conv_size",
                                            "loss_fn",
                                            "mlp_bias",
                                            "max_window_layers",
                                            "pad_token_id",
                                            "partial_rotary_factor",
                                            "quantization_config",
                                            "rand_init",
                                            "rope_parameters",
                                            "shift_labels",
                                            "sliding_window",
                                            "dtype",
                                            "transformers_version",
                                            "use_cache",
                                            "use_sliding_window"};
constexpr std::string_view kMixersOfKeys[] = {"gdn", "kda", "mamba2"};

template <class Predicate>
Json keep_if(const Json& json, const Predicate& is_kept) {
  Json kept = Json::object();
  for (const auto& [key, value] : json.items()) {
    if (is_kept(key)) kept[key] = value;
  }
  return kept;
}

std::string class_name(Architecture architecture) {
  return concat(architecture_name(architecture), "ForCausalLM");
}

std::string model_type(Architecture architecture) {
  std::string name(architecture_name(architecture));
  std::ranges::transform(name, name.begin(), [](char c) { return c < 'a' ? c | 32 : c; });
  return name;
}

Architecture read_architecture(const ConfigKeys& keys) {
  const auto names = keys.get<std::vector<std::string>>("architectures");
  const std::string name = names.empty() ? "nothing" : names.front();
  for (const Architecture architecture : kArchitectures) {
    if (name == class_name(architecture)) return architecture;
  }
  throw Error(concat(keys.at("architectures"),
                     ": expected Qwen3ForCausalLM, Qwen2ForCausalLM, LlamaForCausalLM, "
                     "HypeNetForCausalLM or a published hybrid (docs/formats.md), found ",
                     name));
}

/// Division of all frequencies by the factor, as Llama 3's scaling does where none of them, which
/// are at most 1, turns once in the original context.
Llama3RopeScaling linear_rope_scaling(const ConfigKeys& keys) {
  const auto factor = keys.get<double>("factor");
  HYPENET_CHECK(factor > 0, keys.at("factor"), ": expected more than 0, found ", factor);
  return {.factor = factor, .original_max_position_embeddings = 1};
}

/// rope_scaling (or rope_parameters): null, type "default", "linear", or "llama3".
std::optional<Llama3RopeScaling> read_rope_scaling(const Json& json, const std::string& place) {
  const ConfigKeys keys(json, place);
  for (const auto& [key, value] : json.items()) {
    HYPENET_CHECK(!value.is_object(), place,
                  ": expected one set of values for all layers, found one of its own for ", key);
  }
  keys.require("partial_rotary_factor", 1.0);
  const std::string type =
      keys.get<std::string>("rope_type", keys.get<std::string>("type", "default"));
  if (type == "default") return std::nullopt;
  if (type == "linear") return linear_rope_scaling(keys);
  HYPENET_CHECK(type == "llama3", keys.at("rope_type"),
                ": expected \"default\", \"linear\" or \"llama3\", found \"", type, "\"");
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

/// The three forms that published folders have, as rope_theta and rope_scaling.
void settle_rope(const ConfigKeys& keys, bool is_hypenet, Json& settled) {
  keys.require("partial_rotary_factor", 1.0);
  settled.erase("rope_scaling");
  for (const char* key : {"rope_parameters", "rope_scaling", "lightning_rope_scaling"}) {
    if (!keys.has(key) || (!is_hypenet && key[0] == 'l')) continue;
    const Json& rope = keys.json(key);
    settled["rope_scaling"] = write_fields(read_rope_scaling(rope, keys.at(key)));
    if (const ConfigKeys inner(rope, keys.at(key)); inner.has("rope_theta"))
      settled["rope_theta"] = inner.get<double>("rope_theta");
  }
}

/// Sizes that follow from others where they are not given, and the first of several end tokens.
void settle_sizes(const ConfigKeys& keys, Architecture architecture, Json& settled) {
  const auto H = keys.get<int64_t>("num_attention_heads");
  HYPENET_CHECK(H > 0, keys.at("num_attention_heads"), ": expected more than 0, found ", H);
  if (!keys.has("num_key_value_heads")) settled["num_key_value_heads"] = H;
  if (!keys.has("head_dim")) {
    // transformers gives every Qwen3 without the key a head size of 128.
    const bool is_qwen3 = architecture == Architecture::kQwen3;
    const auto D = keys.get<int64_t>("hidden_size");
    HYPENET_CHECK(is_qwen3 || D % H == 0, keys.at("hidden_size"),
                  ": expected a multiple of num_attention_heads ", H, ", found ", D);
    settled["head_dim"] = is_qwen3 ? 128 : D / H;
  }
  for (const char* key : {"bos_token_id", "eos_token_id"}) {
    if (!keys.has(key) || !keys.json(key).is_array()) continue;
    const auto ids = keys.get<std::vector<int64_t>>(key);
    settled[key] = ids.empty() ? Json() : Json(ids.front());
  }
}

/// The config's keys as ModelConfig lists them; what is null or absent is left to the defaults.
Json settle(const ConfigKeys& keys, const Json& json, Architecture architecture) {
  const bool is_hypenet = architecture == Architecture::kHypeNet;
  Json settled = json;
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"}) {
    keys.get<int64_t>(key);  // must be there
  }
  if (is_hypenet) keys.json("mixer_types");
  settle_sizes(keys, architecture, settled);
  settle_rope(keys, is_hypenet, settled);
  const char* type_key = keys.has("dtype") ? "dtype" : "torch_dtype";
  const auto type = keys.get<std::string>(type_key, "bfloat16");
  HYPENET_CHECK(std::ranges::find(kTypes, type) != kTypes.end(), keys.at(type_key),
                ": expected float32, float16 or bfloat16, found ", type);
  settled["torch_dtype"] = type;
  return keep_if(settled, [&](const std::string& key) { return !settled[key].is_null(); });
}

/// `mixers` are the model's, as config.json names them.
bool is_passed_over(const std::string& key, const Json& mixers) {
  return std::ranges::find(kPassedOver, key) != std::end(kPassedOver) ||
         std::ranges::any_of(kMixersOfKeys, [&](std::string_view mixer) {
           return key.starts_with(concat(mixer, '_')) &&
                  std::find(mixers.begin(), mixers.end(), Json(mixer)) == mixers.end();
         });
}

void read_teacher(const ConfigKeys& keys, const Json& settled, const std::string& place,
                  ModelConfig& config) {
  const Json known = write_fields(config);
  const auto is_known = [&](const std::string& key) { return known.contains(key); };
  read_fields(keep_if(settled, is_known), place, config);
  config.mixer_types.assign(std::clamp<int64_t>(config.num_hidden_layers, 0, kMostOfASize),
                            mixer_kinds().front());
  config.has_qk_norm = config.architecture == Architecture::kQwen3;
  const bool is_qwen2 = config.architecture == Architecture::kQwen2;
  config.attention_output_bias = !is_qwen2 && config.attention_bias;
  config.attention_bias |= is_qwen2;
  keys.require("use_sliding_window", false);
  keys.require("mlp_bias", false);
  for (const auto& type : keys.get<std::vector<std::string>>("layer_types", {})) {
    HYPENET_CHECK(type == "full_attention", keys.at("layer_types"),
                  ": expected \"full_attention\", found \"", type, "\"");
  }
}

void read_hypenet(const Json& settled, const std::string& place, ModelConfig& config) {
  config.attn_use_rope = false;
  config.attn_use_output_gate = config.has_qk_norm = true;
  std::vector<std::pair<const MixerKind*, Json>> of_mixers;  // the keys of each kind that are there
  const Json mixers = settled.value("mixer_types", Json::array());
  Json of_model =
      keep_if(settled, [&](const std::string& key) { return !is_passed_over(key, mixers); });
  for (const MixerKind* kind : mixer_kinds()) {
    if (!kind->write) continue;
    const Json known = kind->write(config);
    const auto is_own = [&](const std::string& key) { return known.contains(key); };
    of_mixers.emplace_back(kind, keep_if(settled, is_own));
    of_model = keep_if(of_model, std::not_fn(is_own));
  }
  read_fields(of_model, place, config);
  for (const auto& [kind, keys] : of_mixers) kind->read(keys, place, config);
}

/// Whoever has the folder knows its keys, not ours.
ModelConfig parse_published(const PublishedConfig& published, const Json& text) {
  try {
    return parse_model_config(published.keys, published.place);
  } catch (const Error& error) {
    throw Error(in_published_words(error.what(), published.architecture, text));
  }
}

}  // namespace

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

void check_model_config(const ModelConfig& config, const std::string& place) {
  check_size(place, "hidden_size", config.hidden_size);
  check_size(place, "intermediate_size", config.intermediate_size);
  check_size(place, "num_hidden_layers", config.num_hidden_layers);
  check_size(place, "vocab_size", config.vocab_size);
  check_size(place, "head_dim", config.head_dim);
  check_divides(place, "num_attention_heads", config.num_attention_heads, "num_key_value_heads",
                config.num_key_value_heads);
  HYPENET_CHECK(config.max_position_embeddings >= 0, place,
                ": max_position_embeddings: expected 0 or more, found ",
                config.max_position_embeddings);
  HYPENET_CHECK(config.hidden_act == "silu", place, ": hidden_act: expected \"silu\", found \"",
                config.hidden_act, "\"");
  const int64_t mixers = static_cast<int64_t>(config.mixer_types.size());
  HYPENET_CHECK(mixers == config.num_hidden_layers, place, ": mixer_types: expected ",
                config.num_hidden_layers, " entries (num_hidden_layers), found ", mixers);
  HYPENET_CHECK(!config.attn_use_rope || config.head_dim % 2 == 0, place,
                ": head_dim: expected an even size (RoPE), found ", config.head_dim);
  HYPENET_CHECK(config.rope_theta > 0, place, ": rope_theta: expected more than 0, found ",
                config.rope_theta);
  HYPENET_CHECK(config.rms_norm_eps >= 0 && config.rms_norm_eps <= 1, place,
                ": rms_norm_eps: expected 0 to 1, found ", config.rms_norm_eps);
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->check) kind->check(config, place);
  }
}

ModelConfig parse_model_config(const Json& json, const std::string& place,
                               const std::vector<std::string>& tensors) {
  if (const auto published = read_published_config(json, place, tensors)) {
    ModelConfig config = parse_published(*published, text_config(json));
    config.architecture = published->architecture;
    config.turned_size = published->turned_size;
    config.has_float_norms = published->has_float_norms;
    config.blocks = published->blocks;
    if (config.blocks.feed_forward == BlockForm::FeedForward::kNone) config.intermediate_size = 0;
    return config;
  }
  const ConfigKeys keys(json, place);
  ModelConfig config;
  config.architecture = read_architecture(keys);
  Json settled = settle(keys, json, config.architecture);
  settled.erase("architectures"), settled.erase("model_type");
  if (config.architecture == Architecture::kHypeNet) {
    read_hypenet(settled, place, config);
  } else {
    read_teacher(keys, settled, place, config);
  }
  check_model_config(config, place);
  return config;
}

void check_is_written(const ModelConfig& config, const std::string& place) {
  HYPENET_CHECK(
      config.architecture <= Architecture::kHypeNet, place,
      ": architectures: expected one that is written (Qwen3, Qwen2, Llama, HypeNet), found ",
      architecture_name(config.architecture), ", which is only read");
}

Json to_json(const ModelConfig& config) {
  check_is_written(config, "config.json");
  Json json = {{"architectures", {class_name(config.architecture)}},
               {"model_type", model_type(config.architecture)}};
  json.update(write_fields(config));
  if (config.architecture != Architecture::kHypeNet) return json;
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->write) json.update(kind->write(config));
  }
  return json;
}

void read_value(const Json& json, const std::string& place, const MixerKind*& kind) {
  HYPENET_CHECK(json.is_string(), place, ": expected a string, found ", json_kind(json));
  kind = mixer_kind(json.get<std::string>(), place);
}

Json write_value(const MixerKind* kind) { return kind->name; }

std::vector<const MixerKind*> kinds_of(const ModelConfig& config) {
  std::vector<const MixerKind*> kinds;
  for (const MixerKind* kind : config.mixer_types) {
    if (std::ranges::find(kinds, kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

}  // namespace hypenet
