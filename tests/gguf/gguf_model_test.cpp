// Which GGUF files are models, and what their keys say in a published folder's files.
#include "gguf/gguf_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numbers>

#include "gguf/model_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing_support::bytes_of_number;
using testing_support::GgufBuilder;
using testing_support::tiny_gguf;

class GgufModels : public testing::Test {
 protected:
  std::filesystem::path put(const GgufBuilder& file, const std::string& name = "m.gguf") const {
    std::ofstream(folder_ / name, std::ios::binary) << file.build();
    return folder_ / name;
  }
  Json json(const GgufBuilder& file, const char* name) const {
    return ModelFiles(put(file)).json(name);
  }

  TemporaryFolder folder_;
};

/// With a tokenizer of four tokens.
GgufBuilder with_tokens() {
  GgufBuilder file = tiny_gguf();
  file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "smollm");
  file.texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<|end|>", "[PAD4]"});
  file.integers("tokenizer.ggml.token_type", {1, 1, 1, 3, 5});
  return file.texts("tokenizer.ggml.merges", {"a b"});
}

TEST_F(GgufModels, config_is_the_published_one) {
  GgufBuilder file = tiny_gguf();
  file.size("llama.context_length", 64).number("llama.rope.freq_base", 500000);
  file.size("tokenizer.ggml.eos_token_id", 3);
  const Json config = json(file, "config.json");
  EXPECT_EQ(config["architectures"], Json::array({"LlamaForCausalLM"}));
  const Json expected = {{"hidden_size", 8},         {"intermediate_size", 8},
                         {"num_hidden_layers", 1},   {"num_attention_heads", 2},
                         {"num_key_value_heads", 2}, {"head_dim", 4},
                         {"vocab_size", 6},          {"max_position_embeddings", 64},
                         {"rope_theta", 500000.0},   {"rms_norm_eps", 1e-5},
                         {"eos_token_id", 3},        {"tie_word_embeddings", true}};
  for (const auto& [key, value] : expected.items()) EXPECT_EQ(config[key], value) << key;
}

TEST_F(GgufModels, what_is_not_built_is_refused_by_its_key) {
  const auto expect = [&](const GgufBuilder& file, const char* text) {
    EXPECT_ERROR(json(file, "config.json"), text);
  };
  const auto with = [](const char* key, uint32_t value) { return tiny_gguf().size(key, value); };
  expect(GgufBuilder().text("general.architecture", "gemma3"),
         "general.architecture: expected llama, qwen2, qwen3, hypenet, found gemma3");
  expect(GgufBuilder().text("general.architecture", std::string(100000, 'x')),
         concat("hypenet, found ", std::string(64, 'x'), "...").c_str());
  expect(GgufBuilder(), "general.architecture: expected the key, found none");
  expect(with("llama.expert_count", 8), "llama.expert_count: expected 0 (no mixture of experts");
  expect(with("llama.rope.dimension_count", 2), "llama.rope.dimension_count: expected 4 (RoPE");
  expect(with("llama.attention.value_length", 8), "attention.value_length: expected 4");
  expect(with("llama.attention.sliding_window", 512), "no sliding window is built");
  expect(with("llama.attention.key_length", 5), "expected an even size (RoPE), found 5");
  expect(with("llama.attention.head_count_kv", 0),
         "head_count_kv: expected 1 to 16777216, found 0");
  expect(tiny_gguf().text("llama.rope.scaling.type", "yarn"),
         "scaling.type: expected none or linear, found yarn");
  expect(tiny_gguf().number("llama.rope.scaling.factor", -4),
         "llama.rope.scaling.factor: expected at least 0, found -4");
  expect(tiny_gguf()
             .number("llama.rope.scaling.factor", 4)
             .tensor("rope_freqs.weight", {2}, 0, bytes_of_number(2.0F) + bytes_of_number(2.0F)),
         "llama.rope.scaling.factor: expected 1 beside the tensor rope_freqs.weight, found 4");
  expect(tiny_gguf().number("llama.rope.scaling.attn_factor", 2),
         "llama.rope.scaling.attn_factor: expected 1, found 2");
  expect(tiny_gguf().number("llama.logit_scale", 7), "llama.logit_scale: expected 1, found 7");
  expect(tiny_gguf().number("llama.final_logit_softcapping", 30),
         "llama.final_logit_softcapping: expected 0, found 30");
  expect(tiny_gguf().key("llama.attention.causal", GgufKind::kBool, std::string(1, '\0')),
         "llama.attention.causal: expected true, found false");
}

TEST_F(GgufModels, scaling_by_nothing_is_none) {
  for (const float factor : {0.0F, 1.0F}) {
    GgufBuilder file = tiny_gguf();
    file.number("llama.rope.scaling.factor", factor).number("llama.logit_scale", factor);
    EXPECT_TRUE(json(file, "config.json")["rope_scaling"].is_null()) << factor;
  }
  GgufBuilder none = tiny_gguf();
  none.text("llama.rope.scaling.type", "none").number("llama.rope.scaling.factor", 4);
  EXPECT_TRUE(json(none, "config.json")["rope_scaling"].is_null()) << "the type says so";
}

TEST_F(GgufModels, a_factor_is_a_linear_scaling_with_a_type_and_without) {
  const Json expected = {{"rope_type", "linear"}, {"factor", 4.0}};
  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    EXPECT_EQ(json(tiny_gguf().number(key, 4), "config.json")["rope_scaling"], expected) << key;
  }
  const GgufBuilder typed = tiny_gguf().text("llama.rope.scaling.type", "linear");
  EXPECT_TRUE(json(typed, "config.json")["rope_scaling"].is_null());
  GgufBuilder both = typed;
  both.number("llama.rope.scaling.factor", 4);
  EXPECT_EQ(json(both, "config.json")["rope_scaling"], expected);
}

TEST_F(GgufModels, one_divisor_for_all_pairs_is_a_scaling_of_a_context_of_1) {
  GgufBuilder file = tiny_gguf();
  file.tensor("rope_freqs.weight", {2}, 0, bytes_of_number(4.0F) + bytes_of_number(4.0F));
  const Json scaling = json(file, "config.json")["rope_scaling"];
  EXPECT_EQ(scaling["factor"], 4);
  EXPECT_EQ(scaling["original_max_position_embeddings"], 1);
}

TEST_F(GgufModels, tensors_are_those_that_the_keys_describe) {
  GgufBuilder file = tiny_gguf();
  file.zeros("blk.0.attn_q.bias", {8});
  EXPECT_ERROR(GgufModel(put(file)), "tensor blk.0.attn_q.bias: expected only tensors of a llama");
  GgufBuilder large = tiny_gguf();
  large.size("llama.attention.head_count_kv", 1);
  EXPECT_ERROR(GgufModel(put(large)),
               "tensor blk.0.attn_k.weight: expected shape [4, 8], found [8, 8]");
  GgufBuilder bare;
  bare.text("general.architecture", "llama").size("llama.embedding_length", 1 << 20);
  bare.size("llama.block_count", 1 << 20).size("llama.feed_forward_length", 1 << 20);
  bare.size("llama.attention.head_count", 1 << 19).zeros("token_embd.weight", {2, 8});
  EXPECT_ERROR(GgufModel(put(bare)),
               "tensor token_embd.weight: expected shape [2, 1048576], found [2, 8]");
}

TEST_F(GgufModels, a_hypenet_tells_its_layers_and_what_they_have) {
  constexpr uint64_t D = 8;
  const auto make = [&](const std::string& layers, bool has_gate) {
    GgufBuilder file;
    file.text("general.architecture", "hypenet").size("hypenet.embedding_length", D);
    file.size("hypenet.block_count", 2).size("hypenet.feed_forward_length", D);
    file.size("hypenet.attention.head_count", 2);
    file.number("hypenet.attention.layer_norm_rms_epsilon", 1e-6F);
    file.number("hypenet.attention.logits_scaling", 500);
    file.key("hypenet.attention.recurrent_layers", GgufKind::kArray,
             GgufBuilder::array_of(GgufKind::kBool, layers.size()) + layers);
    file.key("hypenet.attention.output_gate", GgufKind::kBool, std::string(1, has_gate ? 1 : 0));
    file.zeros("token_embd.weight", {6, D}).zeros("output_norm.weight", {D});
    for (const std::string block : {"blk.0.", "blk.1."}) {
      for (const char* name :
           {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
        file.zeros(block + name + ".weight", {D, D});
      }
      for (const char* name : {"attn_norm", "ffn_norm"}) file.zeros(block + name + ".weight", {D});
      for (const char* name : {"attn_q_norm", "attn_k_norm"}) {
        file.zeros(block + name + ".weight", {D / 2});
      }
    }
    file.zeros("blk.0.attn_gate.weight", {D, D}).zeros("blk.0.attn_norm_2.weight", {D});
    if (has_gate) file.zeros("blk.1.attn_gate.weight", {D, D});
    return file;
  };
  const std::string first = std::string("\1\0", 2);
  const GgufModel model(put(make(first, true)));
  EXPECT_TRUE(model.tensors().contains("model.layers.0.self_attn.z_proj.weight"));
  EXPECT_TRUE(model.tensors().contains("model.layers.0.self_attn.o_norm.weight"));
  EXPECT_TRUE(model.tensors().contains("model.layers.1.self_attn.o_gate.weight"));
  const Json config = json(make(first, true), "config.json");
  EXPECT_EQ(config["architectures"], Json::array({"HypeNetForCausalLM"}));
  EXPECT_EQ(config["mixer_types"], (Json{"lightning-attn", "attn"}));
  EXPECT_EQ(config["attn_logits_scaling"], "hype 500");
  EXPECT_EQ(config["lightning_nh"], 2);
  EXPECT_EQ(config["lightning_scale"], "1/sqrt(d)");
  EXPECT_FALSE(json(make(first, false), "config.json")["attn_use_output_gate"]);
  const auto refused = [&](const GgufBuilder& file, const char* text) {
    EXPECT_ERROR(json(file, "config.json"), text);
  };
  refused(make("\1", true), "recurrent_layers: expected 2 entries (hypenet.block_count), found 1");
  refused(make(first, true).number("hypenet.linear_attention.scale", 3),
          "linear_attention.scale: expected 1/sqrt(d), 1/d or 1 of heads of 4, found 3");
  refused(make(first, true).text("hypenet.attention.logits_scaling_type", "yarn"),
          "logits_scaling_type: expected hype or constant, found yarn");
  refused(make(first, true).size("hypenet.linear_attention.head_count", 4),
          "tensor blk.0.attn_q.weight: expected shape [16, 8], found [8, 8]");
}

TEST_F(GgufModels, rope_divisors_of_llama_3_become_its_scaling) {
  constexpr double kBase = 1e12, kFactor = 32, kContext = 8192;
  GgufBuilder file = tiny_gguf();
  file.number("llama.rope.freq_base", kBase);
  std::string divisors;
  for (const double frequency : {1.0, std::pow(kBase, -0.5)}) {
    const double turns = kContext * frequency / (2 * std::numbers::pi), share = (turns - 1) / 3;
    divisors +=
        bytes_of_number(static_cast<float>(turns > 4   ? 1
                                           : turns < 1 ? kFactor
                                                       : 1 / ((1 - share) / kFactor + share)));
  }
  file.tensor("rope_freqs.weight", {2}, 0, divisors);
  const Json scaling = json(file, "config.json")["rope_scaling"];
  ASSERT_TRUE(scaling.is_object());
  EXPECT_EQ(scaling["rope_type"], "llama3");
  EXPECT_EQ(scaling["factor"], kFactor);
  EXPECT_EQ(scaling["original_max_position_embeddings"], 8192);
  GgufBuilder other = tiny_gguf();
  other.tensor("rope_freqs.weight", {2}, 0, bytes_of_number(5.0F) + bytes_of_number(7.0F));
  EXPECT_ERROR(json(other, "config.json"), "rope_freqs.weight: expected Llama 3's divisors");
}

TEST_F(GgufModels, added_tokens_are_those_of_control_and_users) {
  const SortedJson tokenizer = ModelFiles(put(with_tokens())).sorted_json("tokenizer.json");
  EXPECT_EQ(tokenizer["model"]["vocab"], (SortedJson{{"a", 0}, {"b", 1}, {"ab", 2}}));
  EXPECT_EQ(tokenizer["added_tokens"].size(), 1);
  EXPECT_EQ(tokenizer["added_tokens"][0]["content"], "<|end|>");
  EXPECT_TRUE(tokenizer["added_tokens"][0]["special"]);
}

TEST_F(GgufModels, tokenizers_of_other_kinds_are_refused_by_name) {
  const auto expect = [&](GgufBuilder file, const char* text) {
    file.texts("tokenizer.ggml.tokens", {"a", "a"}).texts("tokenizer.ggml.merges", {});
    EXPECT_ERROR(ModelFiles(put(file)).sorted_json("tokenizer.json"), text);
  };
  expect(tiny_gguf().text("tokenizer.ggml.model", "llama"),
         "tokenizer.ggml.model: expected gpt2 (byte-level BPE), found llama (SentencePiece)");
  const auto with = [](const char* name) {
    return tiny_gguf().text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", name);
  };
  expect(with("tekken"), "pre: expected gpt-2, default, smollm, qwen2, llama-bpe, found tekken");
  expect(with("qwen2"), "tokens[1]: expected a token of its own, found a twice");
  expect(with("qwen2").integers("tokenizer.ggml.token_type", {1}),
         "token_type: expected 2 entries, one a token, found 1");
  expect(with("qwen2").integers("tokenizer.ggml.token_type", {1, 7}),
         "token_type[1]: expected 1 to 6, found 7");
  expect(with("qwen2").integers("tokenizer.ggml.token_type", {0, 1}),
         "token_type[0]: expected 1 to 6, found 0");
}

TEST_F(GgufModels, named_tokens_and_ends_are_told) {
  GgufBuilder file = with_tokens();
  file.size("tokenizer.ggml.eos_token_id", 3).size("tokenizer.ggml.eot_token_id", 2);
  file.size("tokenizer.ggml.bos_token_id", 0).text("tokenizer.chat_template", "{{ messages }}");
  const Json tokens = json(file, "tokenizer_config.json");
  EXPECT_EQ(tokens["eos_token"], "<|end|>");
  EXPECT_EQ(tokens["bos_token"], "a");
  EXPECT_EQ(tokens["chat_template"], "{{ messages }}");
  EXPECT_EQ(json(file, "generation_config.json")["eos_token_id"], (Json{3, 2}));
  GgufBuilder beyond = with_tokens();
  beyond.size("tokenizer.ggml.eos_token_id", 5);
  EXPECT_ERROR(json(beyond, "tokenizer_config.json"), "eos_token_id: expected 0 to 4, found 5");
  for (const char* name : {"bos", "eos", "eot", "eom"}) {
    const std::string key = concat("tokenizer.ggml.", name, "_token_id");
    GgufBuilder large = with_tokens(), negative = with_tokens();
    large.key(key, GgufKind::kUint64, bytes_of_number((uint64_t{1} << 32) + 2));
    EXPECT_ERROR(json(large, "generation_config.json"),
                 concat(key, ": expected 0 to 4, found 4294967298"));
    negative.key(key, GgufKind::kInt32, bytes_of_number(-7));
    EXPECT_ERROR(json(negative, "generation_config.json"),
                 concat(key, ": expected 0 to 4, found -7"));
  }
  GgufBuilder bare = tiny_gguf();
  bare.size("tokenizer.ggml.bos_token_id", 6);
  EXPECT_ERROR(json(bare, "config.json"), "bos_token_id: expected 0 to 5, found 6");
}

TEST_F(GgufModels, files_without_tokenizer_have_none) {
  const ModelFiles files(put(tiny_gguf()));
  EXPECT_TRUE(files.has("config.json"));
  EXPECT_FALSE(files.has("tokenizer.json"));
  EXPECT_FALSE(files.has("chat_template.jinja"));
  EXPECT_ERROR(files.sorted_json("tokenizer.json"), "m.gguf: as tokenizer.json: expected keys");
}

TEST_F(GgufModels, missing_shards_and_other_names_are_refused) {
  GgufBuilder file = tiny_gguf();
  file.size("split.count", 3).size("split.no", 0);
  EXPECT_ERROR(GgufModel(put(file)), "expected a name that ends in -00001-of-00003.gguf");
  const auto path = put(file, "m-00001-of-00003.gguf");
  EXPECT_ERROR(GgufModel(path), "found no " + (folder_ / "m-00002-of-00003.gguf").string());
  put(file, "m-00002-of-00003.gguf"), put(file, "m-00003-of-00003.gguf");
  EXPECT_ERROR(GgufModel(path), "m-00002-of-00003.gguf: split.no: expected 1, found 0");
}

TEST_F(GgufModels, paths_are_told_by_name_or_content) {
  EXPECT_TRUE(is_gguf(put(tiny_gguf(), "named-otherwise.bin")));
  EXPECT_TRUE(is_gguf(folder_ / "none.gguf"));
  EXPECT_FALSE(is_gguf(folder_.path()));
  EXPECT_FALSE(is_gguf(folder_ / "none"));
  EXPECT_ERROR(GgufModel(folder_ / "none.gguf"), "none.gguf: cannot open");
}

}  // namespace
}  // namespace hypenet
