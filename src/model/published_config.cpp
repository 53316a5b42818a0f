// What a published key says is said by HypeNet's: the rest of the program knows one form. The rows
// of the weights follow in store/published_names.cpp.
#include "model/published_config.h"

#include <algorithm>
#include <set>

#include "model/published_keys.h"
#include "store/published_names.h"

namespace hypenet {
namespace {

/// The keys that are named alike and mean the same.
Json shared_keys(const Json& json) {
  Json keys = Json::object();
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size",
        "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id",
        "eos_token_id", "hidden_act", "dtype", "torch_dtype", "rope_theta"}) {
    if (json.contains(key)) keys[key] = json.at(key);
  }
  keys["architectures"] = {"HypeNetForCausalLM"};
  return keys;
}

[[noreturn]] void refuse_experts(const std::string& place, int64_t layer, int64_t experts) {
  throw Error(concat(place, ": expected dense layers (no mixture of experts is built), found ",
                     experts, " experts in layer ", layer));
}

/// layer_types with our names of the kinds; "full_attention" is "attn".
Json mixer_types(const ConfigKeys& keys, const std::vector<std::string>& types,
                 const char* linear) {
  Json mixers = Json::array();
  for (const std::string& type : types) {
    const bool is_linear = type == "linear_attention";
    HYPENET_CHECK(is_linear || type == "full_attention", keys.at("layer_types"),
                  ": expected \"linear_attention\" or \"full_attention\", found \"", type, "\"");
    mixers.push_back(is_linear ? linear : "attn");
  }
  return mixers;
}

/// Every so many-th layer is of attention where the layers are not listed.
std::vector<std::string> qwen_layers(const ConfigKeys& keys) {
  if (keys.has("layer_types")) return keys.get<std::vector<std::string>>("layer_types");
  const int64_t interval = published_size(keys, "full_attention_interval", 4);
  std::vector<std::string> types;
  for (int64_t i = 1; i <= published_size(keys, "num_hidden_layers"); ++i) {
    types.emplace_back(i % interval == 0 ? "full_attention" : "linear_attention");
  }
  return types;
}

void check_qwen_is_dense(const ConfigKeys& keys, int64_t default_experts) {
  const int64_t experts = keys.get<int64_t>("num_experts", default_experts);
  const int64_t step = published_size(keys, "decoder_sparse_step", 1);
  const auto dense = keys.get<std::vector<int64_t>>("mlp_only_layers", {});
  for (int64_t i = 0; i < published_size(keys, "num_hidden_layers") && experts > 0; ++i) {
    const bool is_dense = (i + 1) % step != 0 || std::ranges::find(dense, i) != dense.end();
    if (!is_dense) refuse_experts(keys.at("num_experts"), i, experts);
  }
}

void take_qwen_rope(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!keys.has(key)) continue;
    found.keys[key] = keys.json(key);
    // Of text alone all three positions of a multimodal rotation are equal.
    if (found.keys[key].is_object()) found.keys[key].erase("partial_rotary_factor");
  }
  found.turned_size = turned_size_of(folder.text);
  const int64_t d = published_size(keys, "head_dim");
  HYPENET_CHECK(found.turned_size > 0 && found.turned_size % 2 == 0,
                keys.at("partial_rotary_factor"), ": expected a part of head_dim ", d,
                " that is an even size, found ", found.turned_size);
}

void read_qwen(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  check_qwen_is_dense(keys, found.architecture == Architecture::kQwen3Next ? 512 : 0);
  keys.require("attention_bias", false);
  keys.require("attn_output_gate", true);
  keys.require<std::string>("output_gate_type", "swish");
  const int64_t key_heads = published_size(keys, "linear_num_key_heads");
  const int64_t value_heads = published_size(keys, "linear_num_value_heads");
  check_divides(keys.place(), "linear_num_value_heads", value_heads, "linear_num_key_heads",
                key_heads);
  const int64_t key_size = published_size(keys, "linear_key_head_dim");
  const auto value_size = static_cast<double>(published_size(keys, "linear_value_head_dim"));
  found.keys.update({{"mixer_types", mixer_types(keys, qwen_layers(keys), "gdn")},
                     {"num_attention_heads", published_size(keys, "num_attention_heads")},
                     {"num_key_value_heads", published_size(keys, "num_key_value_heads")},
                     {"head_dim", published_size(keys, "head_dim")},
                     {"attn_use_rope", true},
                     {"attn_use_qk_norm", true},
                     {"attn_use_output_gate", true},
                     {"gdn_nh", key_heads},
                     {"gdn_nkv", key_heads},
                     {"gdn_num_v_heads", value_heads},
                     {"gdn_head_dim", key_size},
                     {"gdn_expand_v", value_size / static_cast<double>(key_size)},
                     {"gdn_use_gate", true},
                     {"gdn_use_short_conv", true},
                     {"gdn_conv_size", published_size(keys, "linear_conv_kernel_dim")},
                     {"gdn_activation", "silu"},
                     {"gdn_allow_neg_eigval", false}});
  take_qwen_rope(folder, found);
  found.has_float_norms = true;  // 1 + w, which fewer bits would round
}

/// What is the same in all of flash-linear-attention's models.
void read_fla(const ConfigKeys& keys, const char* mixer, PublishedConfig& found) {
  require_none(keys, "attn", "attention beside the recurrence");
  require_none(keys, "attnres_block_size", "attention over residuals");
  keys.require<std::string>("hidden_act", "swish");
  const int64_t D = published_size(keys, "hidden_size"),
                L = published_size(keys, "num_hidden_layers");
  if (!keys.has("intermediate_size")) {
    constexpr int64_t kStep = 256;
    const int64_t wide = D * published_size(keys, "hidden_ratio", 4) * 2 / 3;
    found.keys["intermediate_size"] = (wide + kStep - 1) / kStep * kStep;
  }
  const int64_t heads = published_size(keys, "num_heads"), d = published_size(keys, "head_dim");
  found.keys.update({{"mixer_types", std::vector(static_cast<size_t>(L), std::string(mixer))},
                     {"num_attention_heads", heads},
                     {"num_key_value_heads", heads},
                     {"head_dim", d},
                     {"hidden_act", "silu"},
                     {"rms_norm_eps", keys.get<double>("norm_eps", 1e-6)}});
}

void read_gated_deltanet(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  read_fla(keys, "gdn", found);
  const int64_t heads = published_size(keys, "num_heads");
  const int64_t value_heads = published_size(keys, "num_v_heads", heads);
  check_divides(keys.place(), "num_v_heads", value_heads, "num_heads", heads);
  found.keys.update({{"gdn_nh", heads},
                     {"gdn_nkv", heads},
                     {"gdn_num_v_heads", value_heads},
                     {"gdn_head_dim", published_size(keys, "head_dim")},
                     {"gdn_expand_v", keys.get<double>("expand_v", 2)},
                     {"gdn_use_gate", keys.get<bool>("use_gate", true)},
                     {"gdn_use_short_conv", keys.get<bool>("use_short_conv", true)},
                     {"gdn_conv_size", published_size(keys, "conv_size", 4)},
                     {"gdn_activation", "silu"},
                     {"gdn_allow_neg_eigval", keys.get<bool>("allow_neg_eigval", false)}});
}

void add_kda(PublishedConfig& found, int64_t heads, int64_t head_dim, int64_t taps) {
  found.keys.update({{"kda_num_heads", heads},
                     {"kda_head_dim", head_dim},
                     {"kda_use_conv", true},
                     {"kda_conv_size", taps},
                     {"kda_use_qk_norm", false}});
}

void read_fla_kda(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  read_fla(keys, "kda", found);
  const int64_t heads = published_size(keys, "num_heads");
  keys.require("expand_v", 1.0);
  keys.require("num_v_heads", heads);
  keys.require("use_short_conv", true);
  add_kda(found, heads, published_size(keys, "head_dim"), published_size(keys, "conv_size", 4));
  found.keys["kda_allow_neg_eigval"] = keys.get<bool>("allow_neg_eigval", false);
  found.keys["kda_lower_bound"] = keys.has("lower_bound") ? keys.json("lower_bound") : Json();
  found.keys["kda_use_gate_bias"] = true;
}

/// Layers of Kimi Linear count from 1 in linear_attn_config, from 0 elsewhere.
void check_kimi_is_built(const ConfigKeys& keys) {
  const int64_t L = published_size(keys, "num_hidden_layers");
  const auto refuse_attention = [](const std::string& place, int64_t layer) {
    throw Error(concat(place,
                       ": expected no layer of full attention (multi-head latent attention "
                       "is not built), found layer ",
                       layer));
  };
  const auto types = keys.get<std::vector<std::string>>("layer_types", {});
  const auto full = std::ranges::find(types, "full_attention");
  if (full != types.end()) refuse_attention(keys.at("layer_types"), full - types.begin());
  const auto other = std::ranges::find_if(
      types, [](const std::string& type) { return type != "linear_attention"; });
  HYPENET_CHECK(other == types.end(), keys.at("layer_types"),
                ": expected \"linear_attention\", found \"", *other, "\"");
  HYPENET_CHECK(types.empty() || std::ssize(types) == L, keys.at("layer_types"), ": expected ", L,
                " entries, one a layer, found ", types.size());
  if (keys.has("linear_attn_config")) {
    const ConfigKeys linear(keys.json("linear_attn_config"), keys.at("linear_attn_config"));
    for (const int64_t layer : linear.get<std::vector<int64_t>>("full_attn_layers", {})) {
      if (layer <= L) refuse_attention(linear.at("full_attn_layers"), layer);
    }
    if (linear.has("kda_layers")) {
      const auto list = linear.get<std::vector<int64_t>>("kda_layers", {});
      const std::set<int64_t> listed(list.begin(), list.end());
      for (int64_t layer = 1; layer <= L; ++layer) {
        if (!listed.contains(layer)) refuse_attention(linear.at("kda_layers"), layer);
      }
    }
  } else {
    keys.json("layer_types");
  }
  const char* experts_key = keys.has("num_local_experts") ? "num_local_experts" : "num_experts";
  const auto experts = keys.get<int64_t>(experts_key, 0);
  const auto mlps = keys.get<std::vector<std::string>>("mlp_layer_types", {});
  const auto dense = keys.get<int64_t>("first_k_dense_replace", 1);
  for (int64_t i = 0; i < L && experts > 0; ++i) {
    const bool is_listed = i < std::ssize(mlps);
    const bool is_dense = is_listed ? mlps[static_cast<size_t>(i)] == "dense" : i < dense;
    if (!is_dense) refuse_experts(keys.at(experts_key), i, experts);
  }
}

void read_kimi(const PublishedFolder& folder, PublishedConfig& found) {
  const ConfigKeys& keys = folder.keys;
  check_kimi_is_built(keys);
  int64_t heads = 0, d = 0, taps = 0;
  if (keys.has("linear_attn_config")) {
    const ConfigKeys linear(keys.json("linear_attn_config"), keys.at("linear_attn_config"));
    heads = published_size(linear, "num_heads"), d = published_size(linear, "head_dim");
    taps = published_size(linear, "short_conv_kernel_size", 4);
  } else {
    heads = published_size(keys, "linear_num_heads"), d = published_size(keys, "linear_head_dim");
    taps = published_size(keys, "linear_conv_kernel_dim");
  }
  const auto L = static_cast<size_t>(published_size(keys, "num_hidden_layers"));
  found.keys.update({{"mixer_types", std::vector(L, std::string("kda"))},
                     {"num_attention_heads", heads},
                     {"num_key_value_heads", heads},
                     {"head_dim", d},
                     {"rms_norm_eps", keys.get<double>("rms_norm_eps", 1e-5)}});
  if (keys.has("model_max_length")) {
    found.keys["max_position_embeddings"] = keys.json("model_max_length");
  }
  add_kda(found, heads, d, taps);
}

struct Kind {
  std::string_view name;
  Architecture architecture;
  ReadPublished read;
};

constexpr Kind kKinds[] = {
    {"Qwen3NextForCausalLM", Architecture::kQwen3Next, read_qwen},
    {"Qwen3_5ForCausalLM", Architecture::kQwen35, read_qwen},
    {"Qwen3_5ForConditionalGeneration", Architecture::kQwen35, read_qwen},
    {"GatedDeltaNetForCausalLM", Architecture::kGatedDeltaNet, read_gated_deltanet},
    {"KDAForCausalLM", Architecture::kKda, read_fla_kda},
    {"KimiLinearForCausalLM", Architecture::kKimiLinear, read_kimi},
    {"RWKV7Qwen2ForCausalLM", Architecture::kRadlads, read_radlads},
    {"RWKV7ForCausalLM", Architecture::kRwkv7, read_fla_rwkv7},
    {"Mamba2ForCausalLM", Architecture::kMamba2, read_fla_mamba2},
    {"LlambaForCausalLM", Architecture::kLlamba, read_llamba},
    {"JetNemotronForCausalLM", Architecture::kJetNemotron, read_jet}};

constexpr Kind kMambaInLlama = {"LlamaForCausalLM", Architecture::kMambaInLlama,
                                read_mamba_in_llama};

/// Throws Error for more layers than the tensors have, before a list of them is made.
void check_layers_are_stored(const PublishedFolder& folder, const char* key) {
  constexpr std::string_view kLayers = "model.layers.";
  if (folder.tensors.empty()) return;
  std::set<std::string_view> stored;
  for (const std::string_view name : folder.tensors) {
    if (!name.starts_with(kLayers)) continue;
    stored.insert(name.substr(0, name.find('.', kLayers.size())));
  }
  const int64_t layers = published_size(folder.keys, key);
  HYPENET_CHECK(layers <= std::ssize(stored), folder.keys.at(key), ": expected at most ",
                stored.size(), " (there are tensors of so many layers), found ", layers);
}

/// In the outer object where a model of text and images has them there.
void take_outer_keys(const Json& json, Json& keys) {
  for (const char* key : {"tie_word_embeddings", "dtype", "torch_dtype"}) {
    if (json.contains(key) && !json.at(key).is_null()) keys[key] = json.at(key);
  }
}

}  // namespace

int64_t published_size(const ConfigKeys& keys, const char* key) {
  const auto found = keys.get<int64_t>(key);
  check_size(keys.place(), key, found);
  return found;
}

int64_t published_size(const ConfigKeys& keys, const char* key, int64_t fallback) {
  return keys.has(key) ? published_size(keys, key) : fallback;
}

int64_t scaled_size(const ConfigKeys& keys, const char* key, double fallback, const char* of,
                    int64_t size) {
  constexpr double kMost = 1 << 24;
  const auto factor = keys.get<double>(key, fallback);
  const double scaled = factor * static_cast<double>(size);
  HYPENET_CHECK(scaled >= 1 && scaled <= kMost, keys.at(key), ": expected a factor that makes ", of,
                ' ', size, " a size from 1 to ", static_cast<int64_t>(kMost), ", found ", factor);
  return static_cast<int64_t>(scaled);
}

void require_none(const ConfigKeys& keys, const char* key, const char* what) {
  HYPENET_CHECK(!keys.has(key), keys.at(key), ": expected null (", what, " is not built), found ",
                keys.json(key).dump());
}

std::optional<PublishedConfig> read_published_config(const Json& json, const std::string& place,
                                                     const std::vector<std::string>& tensors) {
  const ConfigKeys outer(json, place);
  const auto names = outer.get<std::vector<std::string>>("architectures", {});
  if (names.empty()) return std::nullopt;
  const std::string& name = names.front();
  HYPENET_CHECK(name.find("Moe") == name.npos, outer.at("architectures"),
                ": expected a dense model (no mixture of experts is built), found ", name);
  const bool is_mamba_in_llama = name == kMambaInLlama.name && outer.has("mamba_config");
  const auto* const kind =
      is_mamba_in_llama ? &kMambaInLlama : std::ranges::find(kKinds, name, &Kind::name);
  if (kind == std::end(kKinds)) return std::nullopt;
  const Json& text = text_config(json);
  const bool is_nested = &text != &json;
  const ConfigKeys keys(text, is_nested ? outer.at("text_config") : place);
  PublishedConfig found{.architecture = kind->architecture, .keys = shared_keys(text)};
  found.place = keys.place();
  take_outer_keys(json, found.keys);
  const PublishedFolder folder{keys, text, tensors};
  const bool is_llamba = kind->architecture == Architecture::kLlamba;
  check_layers_are_stored(folder, is_llamba ? "n_layer" : "num_hidden_layers");
  kind->read(folder, found);
  return found;
}

}  // namespace hypenet
