// Rows of fused tensors, numbered, and where each comes out.
#include "store/published_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

/// Two key heads of 2 rows, four value heads of 1 row; attention of 2 heads of 8, RoPE in 4 of
/// them.
Json qwen_config(const std::string& architecture) {
  return {{"architectures", Json::array({architecture})},
          {"head_dim", 8},
          {"num_attention_heads", 2},
          {"linear_num_key_heads", 2},
          {"linear_key_head_dim", 2},
          {"linear_num_value_heads", 4},
          {"linear_value_head_dim", 1},
          {"rope_parameters", {{"partial_rotary_factor", 0.5}}}};
}

/// The numbers of the stored rows that the parameter has.
std::vector<float> rows_of(const Json& config, const std::string& stored, const std::string& name,
                           int64_t rows) {
  const auto parts = stored_parts(config, {stored});
  const Tensor taken =
      take_part(torch::arange(rows, torch::kFloat32).unsqueeze(1), parts.at(name), "file")
          .flatten()
          .contiguous();
  const auto* begin = taken.const_data_ptr<float>();
  return {begin, begin + taken.numel()};
}

const std::string kDelta = "model.layers.0.linear_attn.", kOurs = "model.layers.0.self_attn.";

TEST(PublishedNames, qwen3_next_has_the_rows_of_a_key_head_together) {
  const Json config = qwen_config("Qwen3NextForCausalLM");
  const auto rows = [&](const char* name) {  // of each key head: q q k k v v z z
    return rows_of(config, kDelta + "in_proj_qkvz.weight", kOurs + name, 16);
  };
  EXPECT_THAT(rows("q_proj.weight"), ElementsAre(0, 1, 8, 9));
  EXPECT_THAT(rows("k_proj.weight"), ElementsAre(2, 3, 10, 11));
  EXPECT_THAT(rows("v_proj.weight"), ElementsAre(4, 5, 12, 13));
  EXPECT_THAT(rows("g_proj.weight"), ElementsAre(6, 7, 14, 15));
  const std::string ba = kDelta + "in_proj_ba.weight";
  EXPECT_THAT(rows_of(config, ba, kOurs + "b_proj.weight", 8), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(rows_of(config, ba, kOurs + "a_proj.weight", 8), ElementsAre(2, 3, 6, 7));
}

TEST(PublishedNames, qwen3_5_has_queries_keys_and_values_in_a_row) {
  Json config = {{"architectures", {"Qwen3_5ForConditionalGeneration"}},
                 {"text_config", qwen_config("")}};
  const std::string layer = "model.language_model.layers.0.linear_attn.";
  const auto rows = [&](const char* stored, const char* name) {
    return rows_of(config, layer + stored, kOurs + name, 12);
  };
  EXPECT_THAT(rows("in_proj_qkv.weight", "q_proj.weight"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(rows("in_proj_qkv.weight", "k_proj.weight"), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(rows("conv1d.weight", "v_conv1d.weight"), ElementsAre(8, 9, 10, 11));
  const auto parts = stored_parts(config, {layer + "out_proj.weight", layer + "A_log",
                                           "mtp.fc.weight", "model.visual.x", "lm_head.weight"});
  EXPECT_EQ(parts.size(), 3U);
  EXPECT_TRUE(parts.contains(kOurs + "o_proj.weight"));
  EXPECT_TRUE(parts.contains(kOurs + "A_log"));
  EXPECT_TRUE(parts.contains("lm_head.weight"));
}

TEST(PublishedNames, heads_begin_with_the_pairs_that_turn) {
  const Json config = qwen_config("Qwen3NextForCausalLM");
  const std::string q = kOurs + "q_proj.weight";
  // Stored pairs of a head: (0, 2), (1, 3) turn; 4 to 7 do not. Ours: row i and row 4 + i.
  const std::vector<float> head = {0, 1, 4, 5, 2, 3, 6, 7};
  std::vector<float> both = head;
  for (const float row : head) both.push_back(16 + row);
  EXPECT_THAT(rows_of(config, q, q, 32), ElementsAreArray(both));
  EXPECT_THAT(rows_of(config, q, kOurs + "o_gate.weight", 32),
              ElementsAre(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  const std::string norm = kOurs + "k_norm.weight";
  const Tensor taken = take_part(torch::arange(8, torch::kBFloat16) / 256,
                                 stored_parts(config, {norm}).at(norm), "file");
  EXPECT_EQ(taken.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(torch::equal(taken, 1 + torch::tensor(head) / 256));
}

TEST(PublishedNames, of_flash_linear_attention_are_renamed) {
  const Json config = {{"architectures", {"KDAForCausalLM"}}};
  const auto parts = stored_parts(
      config, {"model.embeddings.weight", "model.layers.3.attn_norm.weight",
               "model.layers.3.attn.f_proj.1.weight", "model.layers.3.attn.g_proj.1.bias",
               "model.layers.3.attn.A_log", "model.layers.3.mlp_norm.weight", "model.norm.weight"});
  std::vector<std::string> names;
  for (const auto& [name, part] : parts) names.push_back(name);
  EXPECT_THAT(
      names,
      ElementsAre("model.embed_tokens.weight", "model.layers.3.input_layernorm.weight",
                  "model.layers.3.post_attention_layernorm.weight",
                  "model.layers.3.self_attn.A_log", "model.layers.3.self_attn.f_b_proj.weight",
                  "model.layers.3.self_attn.g_b_proj.bias", "model.norm.weight"));
  const Tensor rates = take_part(torch::ones({2}), parts.at("model.layers.3.self_attn.A_log"), "f");
  EXPECT_EQ(rates.sizes(), (std::vector<int64_t>{1, 1, 2, 1}));
}

TEST(PublishedNames, two_tensors_for_one_parameter_are_refused) {
  const Json config = {{"architectures", {"KDAForCausalLM"}}};
  EXPECT_ERROR(
      stored_parts(config,
                   {"model.layers.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
                   "folder"),
      "folder: tensor model.layers.0.input_layernorm.weight: expected one tensor for "
      "model.layers.0.input_layernorm.weight, found model.layers.0.attn_norm.weight as "
      "well");
}

TEST(PublishedNames, of_the_program_itself_stay) {
  const Json config = {{"architectures", {"HypeNetForCausalLM"}}};
  const auto parts = stored_parts(config, {"model.layers.0.self_attn.q_proj.weight", "mtp.x"});
  EXPECT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts.at("model.layers.0.self_attn.q_proj.weight").head_size, 0);
}

TEST(PublishedNames, rows_that_config_does_not_explain_are_refused) {
  const Json config = qwen_config("Qwen3NextForCausalLM");
  EXPECT_ERROR(rows_of(config, kDelta + "in_proj_qkvz.weight", kOurs + "q_proj.weight", 17),
               "file: tensor model.layers.0.linear_attn.in_proj_qkvz.weight: expected 16 rows, "
               "found 17");
  const std::string k = kOurs + "k_proj.weight";
  EXPECT_ERROR(rows_of(config, k, k, 12), "expected heads of an even number of rows, found 12");
}

}  // namespace
}  // namespace hypenet
