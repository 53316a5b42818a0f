// llama.cpp computes a llama, qwen2 or qwen3 of these keys; what it would pass over in silence is
// refused here.
#include "gguf/model_keys.h"

#include <utility>

#include "base/error.h"
#include "gguf/hypenet_keys.h"
#include "gguf/rope_divisors.h"

namespace hypenet {
namespace {

constexpr std::pair<const char*, int64_t GgufSizes::*> kSizes[] = {
    {"hidden_size", &GgufSizes::hidden_size},
    {"intermediate_size", &GgufSizes::intermediate_size},
    {"num_hidden_layers", &GgufSizes::num_hidden_layers},
    {"vocab_size", &GgufSizes::vocab_size},
    {"num_attention_heads", &GgufSizes::num_attention_heads},
    {"num_key_value_heads", &GgufSizes::num_key_value_heads},
    {"head_dim", &GgufSizes::head_dim}};

void check_no_bias(const Json& config, std::string_view architecture) {
  const bool has_bias = config.at("attention_bias").get<bool>();
  HYPENET_CHECK(!has_bias || architecture == "qwen2", "config.json: attention_bias: expected ",
                "false (a GGUF file of a ", architecture, " has no biases), found true");
}

/// Whether all frequencies are divided by the factor: a linear scaling, which config.json has as
/// Llama 3's of a context in which none of them, at most 1, turns once.
bool is_linear(const Json& scaling) {
  return scaling.at("original_max_position_embeddings").get<double>() <= 1 &&
         scaling.at("low_freq_factor").get<double>() >= 1;
}

}  // namespace

GgufHead gguf_head(const Json& config) {
  const auto type = config.at("model_type").get<std::string>();
  GgufHead head;
  for (const std::string_view known : gguf_architectures()) {
    if (type == known) head.architecture = known;
  }
  HYPENET_CHECK(!head.architecture.empty(), "config.json: model_type: expected llama, qwen2, ",
                "qwen3 or hypenet, found ", type);
  for (const auto& [name, size] : kSizes) head.sizes.*size = config.at(name).get<int64_t>();
  head.is_tied = config.at("tie_word_embeddings").get<bool>();
  if (head.architecture == "hypenet") {
    head.sizes.hypenet = hypenet_form(config, head.sizes);
  } else {
    check_no_bias(config, head.architecture);
  }
  const Json& scaling = config.at("rope_scaling");
  if (scaling.is_null()) return head;
  if (is_linear(scaling) && head.architecture != "hypenet") {
    head.rope_factor = scaling.at("factor").get<double>();
    return head;
  }
  HYPENET_CHECK(!head.architecture.starts_with("qwen"), "config.json: rope_scaling: expected null ",
                "or a linear one (llama.cpp would not read it of a ", head.architecture,
                "), found ", scaling.dump());
  head.rope_divisors =
      rope_divisors(scaling, config.at("rope_theta").get<double>(), head.sizes.turned_size() / 2);
  return head;
}

void add_model_keys(const Json& config, const GgufHead& head, GgufKeyList& keys) {
  const GgufSizes& sizes = head.sizes;
  const std::string_view architecture = head.architecture;
  const auto key = [&](std::string_view name) { return concat(architecture, ".", name); };
  keys.add_text("general.architecture", architecture);
  keys.add_size(key("vocab_size"), sizes.vocab_size);
  keys.add_size(key("context_length"), config.at("max_position_embeddings").get<int64_t>());
  keys.add_size(key("embedding_length"), sizes.hidden_size);
  keys.add_size(key("block_count"), sizes.num_hidden_layers);
  keys.add_size(key("feed_forward_length"), sizes.intermediate_size);
  keys.add_size(key("attention.head_count"), sizes.num_attention_heads);
  keys.add_size(key("attention.head_count_kv"), sizes.num_key_value_heads);
  keys.add_size(key("attention.key_length"), sizes.head_dim);
  keys.add_size(key("attention.value_length"), sizes.head_dim);
  keys.add_size(key("rope.dimension_count"), sizes.turned_size());
  keys.add_number(key("rope.freq_base"), config.at("rope_theta").get<double>());
  keys.add_number(key("attention.layer_norm_rms_epsilon"), config.at("rms_norm_eps").get<double>());
  if (head.rope_factor != 1) {
    keys.add_text(key("rope.scaling.type"), "linear");
    keys.add_number(key("rope.scaling.factor"), head.rope_factor);
  }
  if (architecture == "hypenet") add_hypenet_keys(config, sizes.hypenet, keys);
}

}  // namespace hypenet
