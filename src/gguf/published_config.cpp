// config.json and what is beside it. Numbers are as published: float32 ones by their shortest
// decimal.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "gguf/hypenet_keys.h"
#include "gguf/published_files.h"
#include "gguf/rope_divisors.h"

namespace hypenet {
namespace {

/// What all of RoPE's frequencies are divided by: a factor without a type is a linear one, 0 none.
double linear_factor(const GgufModel& model) {
  const GgufKeys& keys = model.keys();
  const std::string type = model.key("rope.scaling.type"), older = model.key("rope.scale_linear");
  const std::string_view found = keys.text(type, "linear");
  if (found == "none") return 1;
  HYPENET_CHECK(found == "linear", keys.place(type), ": expected none or linear, found ",
                excerpt(found));
  const std::string newer = model.key("rope.scaling.factor");
  const std::string key = keys.has(newer) ? newer : older;
  const double factor = keys.number(key, 1);
  HYPENET_CHECK(factor >= 0, keys.place(key), ": expected at least 0, found ", factor);
  return factor == 0 ? 1 : factor;
}

/// config.json's: linear by the keys, Llama 3's by the divisors, or null.
Json rope_scaling(const GgufModel& model, double base) {
  Json of_divisors = rope_scaling_of(model, base);
  const double factor = linear_factor(model);
  if (factor == 1) return of_divisors;
  HYPENET_CHECK(of_divisors.is_null(), model.path().string(), ": ",
                model.key("rope.scaling.factor"),
                ": expected 1 beside the tensor rope_freqs.weight, found ", factor);
  return {{"rope_type", "linear"}, {"factor", factor}};
}

/// What changes the logits of such a model and is not built.
void check_plain_attention(const GgufModel& model) {
  struct Factor {
    const char* name;
    double plain;
  };
  constexpr Factor kFactors[] = {{"logit_scale", 1},
                                 {"embedding_scale", 1},
                                 {"residual_scale", 1},
                                 {"attn_logit_softcapping", 0},
                                 {"final_logit_softcapping", 0},
                                 {"rope.scaling.attn_factor", 1},
                                 {"attention.clamp_kqv", 0},
                                 {"attention.max_alibi_bias", 0}};
  const GgufKeys& keys = model.keys();
  for (const auto& [name, plain] : kFactors) {
    const std::string key = model.key(name);
    const double found = keys.number(key, plain);
    HYPENET_CHECK(found == plain || found == 0, keys.place(key), ": expected ", plain, ", found ",
                  found);
  }
  const std::string causal = model.key("attention.causal");
  HYPENET_CHECK(keys.flag(causal, true), keys.place(causal), ": expected true, found false");
}

/// The type that a folder of these weights has.
std::string published_type(const GgufModel& model) {
  const BlockType type = model.tensors().at("model.embed_tokens.weight").stored->type;
  if (type == BlockType::kF32) return "float32";
  return type == BlockType::kF16 ? "float16" : "bfloat16";
}

/// A token's id, or null where the file has none. Of a file without tokenizer it is a row.
Json token_id(const GgufModel& model, std::string_view name) {
  constexpr const char* kTokens = "tokenizer.ggml.tokens";
  const GgufKeys& keys = model.keys();
  const std::string key = concat("tokenizer.ggml.", name, "_token_id");
  if (!keys.has(key)) return {};
  const int64_t id = keys.integer(key);
  const int64_t count =
      keys.has(kTokens) ? std::ssize(keys.texts(kTokens)) : model.sizes().vocab_size;
  HYPENET_CHECK(id >= 0 && id < count, keys.place(key), ": expected 0 to ", count - 1, ", found ",
                id);
  return id;
}

bool is_qwen(const GgufModel& model) { return model.architecture().starts_with("qwen"); }

/// The token that a key gives the id of; null where there is none.
Json token(const GgufModel& model, std::string_view name) {
  const Json id = token_id(model, name);
  if (id.is_null()) return id;
  return std::string(model.keys().texts("tokenizer.ggml.tokens").at(id.get<size_t>()));
}

std::string class_name(std::string_view architecture) {
  if (architecture == "hypenet") return "HypeNetForCausalLM";
  std::string name(architecture);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name + "ForCausalLM";
}

}  // namespace

Json published_config(const GgufModel& model) {
  const GgufKeys& keys = model.keys();
  const GgufSizes& sizes = model.sizes();
  check_plain_attention(model);
  constexpr double kUsualBase = 10000;
  const double base = keys.number(model.key("rope.freq_base"), kUsualBase);
  Json config = {{"architectures", {class_name(model.architecture())}},
                 {"model_type", model.architecture()},
                 {"torch_dtype", published_type(model)},
                 {"hidden_act", "silu"},
                 {"hidden_size", sizes.hidden_size},
                 {"intermediate_size", sizes.intermediate_size},
                 {"num_hidden_layers", sizes.num_hidden_layers},
                 {"num_attention_heads", sizes.num_attention_heads},
                 {"num_key_value_heads", sizes.num_key_value_heads},
                 {"head_dim", sizes.head_dim},
                 {"max_position_embeddings", keys.integer(model.key("context_length"), 0)},
                 {"rope_theta", base},
                 {"rope_scaling", rope_scaling(model, base)},
                 {"rms_norm_eps", keys.number(model.key("attention.layer_norm_rms_epsilon"))},
                 {"vocab_size", sizes.vocab_size},
                 {"tie_word_embeddings", !model.tensors().contains("lm_head.weight")},
                 {"bos_token_id", token_id(model, "bos")},
                 {"eos_token_id", token_id(model, "eos")}};
  if (model.architecture() == "hypenet") {
    config.update(published_hypenet_keys(model));
  } else if (is_qwen(model)) {
    config["use_sliding_window"] = false;
  } else {
    config["attention_bias"] = false;
  }
  return config;
}

Json published_tokenizer_config(const GgufModel& model) {
  const GgufKeys& keys = model.keys();
  constexpr const char* kTemplate = "tokenizer.chat_template";
  Json config = {{"tokenizer_class", is_qwen(model) ? "Qwen2Tokenizer" : "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  // Nothing stands in front of a Qwen's texts, whatever the key says.
  config["bos_token"] = is_qwen(model) ? Json() : token(model, "bos");
  config["eos_token"] = token(model, "eos");
  config["unk_token"] = is_qwen(model) ? Json() : token(model, "unknown");
  config["pad_token"] = token(model, "padding");
  const int64_t context = keys.integer(model.key("context_length"), 0);
  if (context > 0) config["model_max_length"] = context;
  if (keys.has(kTemplate)) config["chat_template"] = keys.text(kTemplate);
  return config;
}

Json published_generation_config(const GgufModel& model) {
  Json ends = Json::array();
  const auto add = [&](std::string_view name) {
    const Json id = token_id(model, name);
    if (!id.is_null() && std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
  };
  for (const char* name : {"eos", "eot", "eom"}) add(name);
  // A Qwen pads with <|endoftext|>, which its published folders name as an end.
  if (is_qwen(model)) add("padding");
  return {{"bos_token_id", token_id(model, "bos")}, {"eos_token_id", ends}};
}

}  // namespace hypenet
