// config.json: the four architectures, both spellings of keys, and every refusal.
#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/mixers/attention.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/lightning.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "model/mixers/supra.h"
#include "model/rope.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

Json teacher_json(const std::string& architecture) {
  return {{"architectures", Json::array({architecture})},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 32},
          {"vocab_size", 100},
          {"rope_theta", 5000},
          {"tie_word_embeddings", true},
          {"eos_token_id", Json::array({7, 8})},
          {"hidden_act", "silu"}};
}

Json hypenet_json() {
  Json json = teacher_json("HypeNetForCausalLM");
  json["mixer_types"] = {"lightning-attn", "attn", "lightning-attn"};
  json["lightning_nh"] = 4;
  json["lightning_nkv"] = 4;
  json["lightning_head_dim"] = 32;
  json["attn_use_rope"] = false;
  json["attn_use_output_gate"] = true;
  return json;
}

ModelConfig parse(const Json& json) { return parse_model_config(json, "config.json"); }

TEST(ModelConfigTest, qwen3_has_qk_norm_and_no_biases) {
  const ModelConfig config = parse(teacher_json("Qwen3ForCausalLM"));
  EXPECT_EQ(config.architecture, Architecture::kQwen3);
  EXPECT_TRUE(config.has_qk_norm);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_TRUE(config.attn_use_rope);
  EXPECT_FALSE(config.attn_use_output_gate);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.rope_theta, 5000);
  EXPECT_EQ(config.eos_token_id, 7);
  EXPECT_FALSE(config.bos_token_id.has_value());
  EXPECT_EQ(config.mixer_types, std::vector(3, &kAttentionMixer));
}

TEST(ModelConfigTest, biases_follow_the_architecture) {
  const ModelConfig qwen2 = parse(teacher_json("Qwen2ForCausalLM"));
  EXPECT_TRUE(qwen2.attention_bias);
  EXPECT_FALSE(qwen2.attention_output_bias);
  EXPECT_FALSE(qwen2.has_qk_norm);
  Json json = teacher_json("LlamaForCausalLM");
  EXPECT_FALSE(parse(json).attention_bias);
  json["attention_bias"] = true;
  EXPECT_TRUE(parse(json).attention_bias);
  EXPECT_TRUE(parse(json).attention_output_bias);
}

TEST(ModelConfigTest, absent_keys_take_the_values_transformers_gives_them) {
  Json json = teacher_json("LlamaForCausalLM");
  for (const char* key : {"head_dim", "num_key_value_heads", "rope_theta", "tie_word_embeddings"}) {
    json.erase(key);
  }
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tie_word_embeddings);
  json = teacher_json("Qwen3ForCausalLM");
  json.erase("head_dim");
  EXPECT_EQ(parse(json).head_dim, 128);
}

TEST(ModelConfigTest, rope_and_type_have_an_old_and_a_new_spelling) {
  Json json = teacher_json("LlamaForCausalLM");
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "llama3"}, {"rope_theta", 500000.0},
                             {"factor", 32.0},        {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4}, {"original_max_position_embeddings", 8192}};
  json["dtype"] = "float32";
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.rope_theta, 500000);
  ASSERT_TRUE(config.rope_scaling.has_value());
  EXPECT_EQ(config.rope_scaling->factor, 32);
  EXPECT_EQ(config.torch_dtype, "float32");
  json = teacher_json("LlamaForCausalLM");
  json["rope_scaling"] = nullptr;
  EXPECT_FALSE(parse(json).rope_scaling.has_value());
  json["rope_scaling"] = {{"type", "default"}};
  EXPECT_FALSE(parse(json).rope_scaling.has_value());
}

TEST(ModelConfigTest, linear_scaling_divides_all_frequencies) {
  Json json = teacher_json("LlamaForCausalLM");
  const Tensor plain = model_rope_frequencies(parse(json));
  for (const char* key : {"type", "rope_type"}) {
    json["rope_scaling"] = {{key, "linear"}, {"factor", 4.0}};
    const ModelConfig config = parse(json);
    EXPECT_TRUE(torch::equal(model_rope_frequencies(config), plain / 4));
    EXPECT_TRUE(torch::equal(model_rope_frequencies(parse(to_json(config))), plain / 4));
  }
}

TEST(ModelConfigTest, configs_of_transformers_5_are_read) {
  Json json = teacher_json("Qwen3ForCausalLM");
  json.erase("rope_theta");
  json.erase("eos_token_id");
  json["rope_parameters"] = {{"rope_theta", 1000000}, {"rope_type", "default"}};
  json["dtype"] = "float16";
  json["layer_types"] = Json::array({"full_attention", "full_attention", "full_attention"});
  json["eos_token_id"] = Json::array({});
  ModelConfig config = parse(json);
  EXPECT_EQ(config.rope_theta, 1000000);
  EXPECT_FALSE(config.rope_scaling.has_value());
  EXPECT_EQ(config.torch_dtype, "float16");
  EXPECT_FALSE(config.eos_token_id.has_value());
  json["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_EQ(parse(json).rope_theta, 10000);
  json["rope_parameters"] = nullptr;
  json["rope_theta"] = 5000;
  EXPECT_EQ(parse(json).rope_theta, 5000);
}

TEST(ModelConfigTest, both_spellings_may_stand_side_by_side) {
  Json json = teacher_json("LlamaForCausalLM");
  json["rope_theta"] = 5000;
  json["rope_scaling"] = nullptr;
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 7000}};
  json["torch_dtype"] = "bfloat16";
  json["dtype"] = "float32";
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.rope_theta, 7000);
  EXPECT_EQ(config.torch_dtype, "float32");
  json["dtype"] = nullptr;
  EXPECT_EQ(parse(json).torch_dtype, "bfloat16");
  json["torch_dtype"] = nullptr;
  EXPECT_EQ(parse(json).torch_dtype, "bfloat16");
}

TEST(ModelConfigTest, hypenet_reads_the_authors_keys) {
  Json json = hypenet_json();
  json["attn_logits_scaling"] = "hype 500";
  json["lightning_scale"] = "1/d";
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.mixer_types,
            (std::vector{&kLightningMixer, &kAttentionMixer, &kLightningMixer}));
  EXPECT_TRUE(config.has_qk_norm);
  EXPECT_FALSE(config.attn_use_rope);
  EXPECT_TRUE(config.attn_use_output_gate);
  EXPECT_EQ(config.attn_logits_scaling, (LogitsScaling{LogitsScaling::Kind::kLogPosition, 500}));
  EXPECT_EQ(config.mixers.of<LightningConfig>().scale_value(), 1.0 / 32);
  json["attn_use_qk_norm"] = false;
  EXPECT_FALSE(parse(json).has_qk_norm);
}

TEST(ModelConfigTest, published_keys_that_no_forward_needs_are_passed_over) {
  Json json = hypenet_json();
  json["transformers_version"] = "4.57.0";
  json["gdn_nh"] = 4;
  json["mixer_types"][0] = "lightning_attn";
  EXPECT_EQ(parse(json).mixer_types.front(), &kLightningMixer);
  Json teacher = teacher_json("LlamaForCausalLM");
  teacher["pretraining_tp"] = 1;
  teacher["attn_use_rope"] = false;  // no key of a Llama
  EXPECT_TRUE(parse(teacher).attn_use_rope);
}

TEST(ModelConfigTest, lightning_scale_names_three_factors) {
  LightningConfig config{.head_dim = 64};
  EXPECT_EQ(config.scale_value(), 0.125);
  config.scale = "1/d";
  EXPECT_EQ(config.scale_value(), 1.0 / 64);
  config.scale = "1";
  EXPECT_EQ(config.scale_value(), 1);
}

TEST(ModelConfigTest, written_configs_read_back_as_they_were) {
  std::vector<Json> all = {hypenet_json()};
  for (const char* name : {"Qwen3ForCausalLM", "Qwen2ForCausalLM", "LlamaForCausalLM"}) {
    all.push_back(teacher_json(name));
  }
  all[0]["attn_logits_scaling"] = "hype 362";
  all[3]["attention_bias"] = true;
  all[3]["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8},
                            {"low_freq_factor", 1},
                            {"high_freq_factor", 4},
                            {"original_max_position_embeddings", 64}};
  for (const Json& json : all) {
    const Json written = to_json(parse(json));
    EXPECT_EQ(to_json(parse(written)), written) << written.dump();
    for (const auto& [key, value] : json.items()) {
      if (key == "eos_token_id") continue;
      EXPECT_EQ(written.at(key), value) << key;
    }
  }
}

TEST(LogitsScalingTest, reads_and_writes_its_four_forms) {
  using Kind = LogitsScaling::Kind;
  const auto scaling = [](const Json& json) { return parse_logits_scaling(json, "here"); };
  EXPECT_EQ(scaling(nullptr).kind, Kind::kNone);
  EXPECT_EQ(scaling(1.25), (LogitsScaling{Kind::kConstant, 1.25}));
  EXPECT_EQ(scaling("hype"), (LogitsScaling{Kind::kLogPosition, 362}));
  EXPECT_EQ(scaling("hype 100.5"), (LogitsScaling{Kind::kLogPosition, 100.5}));
  for (const Json& json : {Json(nullptr), Json(1.25), Json("hype 100.5"), Json("hype 1234567")}) {
    EXPECT_EQ(to_json(scaling(json)), json);
  }
  for (const Json& json : {Json("hype x"), Json("hype 1"), Json("log 5"), Json("hype 5 5"),
                           Json("hype "), Json(true), Json("hype nan"), Json("hype inf")}) {
    EXPECT_ERROR(scaling(json), "here: expected null, a number, \"hype\" or \"hype <a>\"");
  }
}

TEST(ModelConfigErrors, name_key_expected_and_found) {
  const auto with = [](Json json, const char* key, const Json& value) {
    json[key] = value;
    return parse(json);
  };
  const Json teacher = teacher_json("Qwen2ForCausalLM");
  EXPECT_ERROR(
      with(teacher, "architectures", {"GPT2LMHeadModel"}),
      "config.json: architectures: expected Qwen3ForCausalLM, Qwen2ForCausalLM, "
      "LlamaForCausalLM, HypeNetForCausalLM or a published hybrid (docs/formats.md), found "
      "GPT2LMHeadModel");
  EXPECT_ERROR(with(teacher, "hidden_act", "gelu"),
               "config.json: hidden_act: expected \"silu\", found \"gelu\"");
  EXPECT_ERROR(with(teacher, "num_key_value_heads", 3),
               "config.json: num_key_value_heads: expected a divisor of num_attention_heads 4, "
               "found 3");
  EXPECT_ERROR(with(teacher, "max_position_embeddings", -1),
               "config.json: max_position_embeddings: expected 0 or more, found -1");
  EXPECT_ERROR(with(teacher, "vocab_size", 0),
               "config.json: vocab_size: expected more than 0, found 0");
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"}) {
    EXPECT_ERROR(with(teacher, key, 1'000'000'000'000),
                 concat("config.json: ", key, ": expected at most 1048576, found 1000000000000"));
  }
  EXPECT_ERROR(with(teacher, "hidden_size", "64"),
               "config.json: hidden_size: expected an integer, found a string");
  EXPECT_ERROR(with(teacher, "use_sliding_window", true),
               "config.json: use_sliding_window: expected false, found true");
  EXPECT_ERROR(with(teacher, "layer_types", {"full_attention", "sliding_attention"}),
               "layer_types: expected \"full_attention\", found \"sliding_attention\"");
  EXPECT_ERROR(with(teacher, "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}),
               "config.json: rope_scaling: rope_type: expected \"default\", \"linear\" or "
               "\"llama3\", found \"yarn\"");
  EXPECT_ERROR(with(teacher, "rope_scaling", {{"rope_type", "llama3"}}),
               "rope_scaling: factor: expected a value, found no such key");
  const Json each = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 5000}}},
                     {"sliding_attention", {{"rope_type", "default"}}}};
  EXPECT_ERROR(with(teacher, "rope_parameters", each),
               "config.json: rope_parameters: expected one set of values for all layers, found one "
               "of its own for full_attention");
  EXPECT_ERROR(with(teacher, "rope_parameters", {{"rope_type", "linear"}, {"factor", 0}}),
               "config.json: rope_parameters: factor: expected more than 0, found 0");
  EXPECT_ERROR(with(teacher, "rope_parameters", {{"partial_rotary_factor", 0.5}}),
               "rope_parameters: partial_rotary_factor: expected 1.0, found 0.5");
  EXPECT_ERROR(with(teacher, "dtype", "int8"),
               "dtype: expected float32, float16 or bfloat16, found int8");
  EXPECT_ERROR(with(teacher, "head_dim", 15), "head_dim: expected an even size (RoPE), found 15");
  EXPECT_ERROR(with(teacher, "torch_dtype", "int8"),
               "torch_dtype: expected float32, float16 or bfloat16, found int8");
  Json missing = teacher;
  missing.erase("hidden_size");
  EXPECT_ERROR(parse(missing), "config.json: hidden_size: expected a value, found no such key");
  missing = teacher;
  missing.erase("head_dim");
  missing["hidden_size"] = 66;
  EXPECT_ERROR(parse(missing), "hidden_size: expected a multiple of num_attention_heads 4");
  EXPECT_ERROR(parse(Json::array()), "config.json: expected an object, found an array");
}

TEST(ModelConfigErrors, of_hypenets_name_key_expected_and_found) {
  const auto with = [](const char* key, const Json& value) {
    Json json = hypenet_json();
    json[key] = value;
    return parse(json);
  };
  EXPECT_ERROR(with("mixer_types", {"attn", "rwkv4", "attn"}),
               "config.json: mixer_types[1]: expected \"attn\", \"lightning-attn\", \"gdn\", "
               "\"kda\", \"mamba2\", \"nha\", \"rwkv7\", \"supra\" or \"jet\", found \"rwkv4\"");
  EXPECT_ERROR(with("mixer_types", {"attn", "attn"}),
               "config.json: mixer_types: expected 3 entries (num_hidden_layers), found 2");
  EXPECT_ERROR(with("lightning_nkv", 3),
               "lightning_nkv: expected a divisor of lightning_nh 4, found 3");
  EXPECT_ERROR(with("lightning_use_short_conv", true),
               "lightning_use_short_conv: expected false, found true");
  EXPECT_ERROR(with("lightning_head_dim", 15), "lightning_head_dim: expected an even size");
  EXPECT_ERROR(with("lightning_use_ropes", true),
               "config.json: unknown key \"lightning_use_ropes\", expected one of:");
  Json json = hypenet_json();
  json["attn_use_rope"] = true;
  json["lightning_head_dim"] = 16;
  EXPECT_ERROR(parse(json), "lightning_head_dim: expected head_dim 32");
}

Json json_with_mixer(const char* mixer, const Json& changes = Json::object()) {
  Json json = hypenet_json();
  json["mixer_types"] = {mixer, "attn", mixer};
  json.update(changes);
  return json;
}

TEST(ModelConfigTest, sizes_of_delta_mixers_follow_from_attention_s_where_they_are_not_given) {
  const auto gdn = parse(json_with_mixer("gdn")).mixers.of<GdnConfig>();
  EXPECT_EQ(std::vector({gdn.nh, gdn.nkv, gdn.head_dim}), (std::vector<int64_t>{4, 2, 32}));
  const Json published = {{"gdn_activation", nullptr}, {"gdn_attn_mode", "chunk"},
                          {"gdn_expand_v", 1},         {"gdn_nkv", 4},
                          {"gdn_use_gate", true},      {"kda_anything", true}};
  EXPECT_EQ(parse(json_with_mixer("gdn", published)).mixers.of<GdnConfig>().nkv, 4);
  const auto kda = parse(json_with_mixer("kda", {{"kda_lower_bound", -5}})).mixers.of<KdaConfig>();
  EXPECT_EQ(std::vector({kda.num_heads, kda.head_dim}), (std::vector<int64_t>{4, 32}));
  EXPECT_EQ(kda.lower_bound, -5);
}

TEST(ModelConfigErrors, of_delta_mixers_name_key_expected_and_found) {
  const auto with = [](const char* mixer, const char* key, const Json& value) {
    return parse(json_with_mixer(mixer, {{key, value}}));
  };
  EXPECT_ERROR(with("gdn", "gdn_nkv", 3), "gdn_nkv: expected a divisor of gdn_nh 4, found 3");
  EXPECT_ERROR(with("gdn", "gdn_num_v_heads", 6),
               "gdn_nh: expected a divisor of gdn_num_v_heads 6, found 4");
  EXPECT_ERROR(with("gdn", "gdn_expand_v", 0.3),
               "gdn_expand_v: expected a factor that makes gdn_head_dim 32 another whole number");
  EXPECT_ERROR(with("gdn", "gdn_activation", "relu"),
               "gdn_activation: expected null or \"silu\", found \"relu\"");
  EXPECT_ERROR(with("gdn", "gdn_use_ropes", true), "unknown key \"gdn_use_ropes\"");
  EXPECT_ERROR(with("kda", "kda_lower_bound", -6),
               "kda_lower_bound: expected null, or a number from -5 to below 0, found -6");
  EXPECT_ERROR(with("kda", "kda_num_heads", 0), "kda_num_heads: expected more than 0, found 0");
}

TEST(ModelConfigTest, sizes_of_further_mixers_follow_from_attention_s_where_they_are_not_given) {
  const auto mamba = parse(json_with_mixer("mamba2")).mixers.of<Mamba2Config>();
  EXPECT_EQ(std::vector({mamba.num_heads, mamba.num_key_value_heads, mamba.head_dim}),
            (std::vector<int64_t>{4, 2, 32}));
  const auto nha = parse(json_with_mixer("nha", {{"nha_num_slots", 8}})).mixers.of<NhaConfig>();
  EXPECT_EQ(std::vector({nha.num_heads, nha.num_key_value_heads, nha.head_dim, nha.num_slots}),
            (std::vector<int64_t>{4, 2, 32, 8}));
  const auto rwkv = parse(json_with_mixer("rwkv7")).mixers.of<Rwkv7Config>();
  EXPECT_EQ(std::vector({rwkv.num_heads, rwkv.num_key_value_heads, rwkv.head_size}),
            (std::vector<int64_t>{4, 2, 32}));
  Rwkv7Config ranks;
  ranks.use_ranks_of(2048);
  EXPECT_EQ(std::vector({ranks.lora_rank_decay, ranks.lora_rank_iclr, ranks.lora_rank_gate}),
            (std::vector<int64_t>{96, 96, 256}));
  const auto supra = parse(json_with_mixer("supra")).mixers.of<SupraConfig>();
  EXPECT_EQ(std::vector({supra.n_heads, supra.n_heads_kv, supra.qk_head_dim}),
            (std::vector<int64_t>{4, 2, 32}));
}

TEST(ModelConfigErrors, of_further_mixers_name_key_expected_and_found) {
  const auto with = [](const char* mixer, const char* key, const Json& value) {
    return parse(json_with_mixer(mixer, {{key, value}}));
  };
  EXPECT_ERROR(with("mamba2", "mamba2_num_key_value_heads", 3),
               "mamba2_num_key_value_heads: expected a divisor of mamba2_num_heads 4, found 3");
  EXPECT_ERROR(with("mamba2", "mamba2_conv_init", "zero"),
               "mamba2_conv_init: expected \"random\" or \"identity\", found \"zero\"");
  EXPECT_ERROR(with("mamba2", "mamba2_hidden_act", "relu"),
               "mamba2_hidden_act: expected null or \"silu\", found \"relu\"");
  EXPECT_ERROR(with("nha", "nha_num_slots", 0), "nha_num_slots: expected more than 0, found 0");
  EXPECT_ERROR(with("nha", "nha_gate_logit_normalizer", 0),
               "nha_gate_logit_normalizer: expected more than 0, found 0");
  EXPECT_ERROR(with("nha", "nha_head_dim", 7),
               "nha_head_dim: expected an even size (RoPE), found 7");
  Json json = json_with_mixer("rwkv7", {{"rwkv7_use_v_first", true}});
  EXPECT_TRUE(parse(json).mixers.of<Rwkv7Config>().use_v_first);
  json["mixer_types"] = {"attn", "rwkv7", "rwkv7"};
  EXPECT_ERROR(parse(json),
               "rwkv7_use_v_first: expected rwkv7 in layer 0, whose values others mix in, found "
               "attn");
  EXPECT_ERROR(with("rwkv7", "rwkv7_gate_rank_type", 3),
               "rwkv7_gate_rank_type: expected 1 or 2, found 3");
  EXPECT_ERROR(with("rwkv7", "rwkv7_group_norm_eps", -1),
               "rwkv7_group_norm_eps: expected null or more than 0, found -1");
  EXPECT_ERROR(with("supra", "supra_qk_norm", true), "supra_qk_norm: expected false, found true");
  EXPECT_ERROR(with("supra", "supra_n_heads_kv", 3),
               "supra_n_heads_kv: expected a divisor of supra_n_heads 4, found 3");
}

}  // namespace
}  // namespace hypenet
