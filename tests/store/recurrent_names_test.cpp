// Tensors of published RWKV-7 and Mamba-2 models, and which parameter each becomes.
#include "store/recurrent_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kLayer = "model.layers.1.self_attn.";

Json config_of(const char* architecture) {
  return {{"architectures", Json::array({architecture})}};
}

std::vector<std::string> names_of(const Json& config, const std::vector<std::string>& stored) {
  std::vector<std::string> names;
  for (const auto& [name, part] : stored_parts(config, stored)) names.push_back(name);
  return names;
}

TEST(RecurrentNames, low_rank_parts_of_flash_linear_attention_are_matrices_from_the_right) {
  const std::string layer = "model.layers.1.attn.";
  const auto parts =
      stored_parts(config_of("RWKV7ForCausalLM"),
                   {layer + "w_lora.lora.0.weight", layer + "w_lora.lora.2.weight",
                    layer + "w_lora.lora.2.bias", layer + "g_lora.lora.2.weight", layer + "k_k"});
  const Tensor matrix = torch::arange(6, torch::kFloat32).view({2, 3});
  for (const char* name : {"w1", "w2", "g2"}) {
    const Tensor taken = take_part(matrix, parts.at(kLayer + name), "file");
    EXPECT_TRUE(torch::equal(taken, matrix.t())) << name;
    EXPECT_TRUE(taken.is_contiguous()) << name;
  }
  for (const char* name : {"w0", "k_k"}) {
    const Tensor taken = take_part(torch::ones({3}), parts.at(kLayer + name), "file");
    EXPECT_EQ(taken.sizes(), (std::vector<int64_t>{1, 1, 3})) << name;
  }
  EXPECT_ERROR(take_part(torch::ones({3}), parts.at(kLayer + "w1"), "file"),
               "file: tensor model.layers.1.attn.w_lora.lora.0.weight: expected a matrix, found "
               "shape [3]");
}

TEST(RecurrentNames, rows_of_another_shape_are_refused) {
  const std::string layer = "model.layers.1.attn.";
  const auto parts = stored_parts(config_of("RWKV7ForCausalLM"),
                                  {layer + "w_lora.lora.2.bias", layer + "k_k", layer + "x_x"});
  const auto take = [&](const char* name, torch::IntArrayRef shape) {
    return take_part(torch::ones(shape), parts.at(kLayer + name), "file");
  };
  EXPECT_EQ(take("k_k", {1, 1, 8}).sizes(), (std::vector<int64_t>{1, 1, 8}));
  EXPECT_ERROR(take("k_k", {4, 2}),
               "file: tensor model.layers.1.attn.k_k: expected one size that is not 1, found "
               "shape [4, 2]");
  EXPECT_ERROR(take("w0", {2, 4}), "tensor model.layers.1.attn.w_lora.lora.2.bias: expected one");
  EXPECT_ERROR(take("x_r", {6, 2, 4}), "tensor model.layers.1.attn.x_x: expected one size");
  const auto kda = stored_parts(config_of("KDAForCausalLM"), {layer + "A_log"});
  const StoredPart& log = kda.at(kLayer + "A_log");
  for (const auto& shape : {std::vector<int64_t>{4}, {1, 1, 4, 1}}) {
    EXPECT_EQ(take_part(torch::ones(shape), log, "file").sizes(),
              (std::vector<int64_t>{1, 1, 4, 1}));
  }
  EXPECT_ERROR(take_part(torch::ones({2, 2}), log, "file"), "attn.A_log: expected one size");
}

TEST(RecurrentNames, shares_of_the_token_before_come_apart) {
  const std::string stored = "model.layers.1.attn.x_x";
  const auto parts = stored_parts(config_of("RWKV7ForCausalLM"), {stored});
  EXPECT_EQ(parts.size(), 6U);
  const Tensor rows = torch::arange(12, torch::kFloat32).view({6, 2});
  int64_t row = 0;
  for (const char* name : {"x_r", "x_w", "x_k", "x_v", "x_a", "x_g"}) {
    const Tensor taken = take_part(rows, parts.at(kLayer + name), "file");
    EXPECT_TRUE(torch::equal(taken, rows[row++].view({1, 1, 2}))) << name;
  }
}

TEST(RecurrentNames, rwkv_s_blocks_have_the_model_s_names) {
  EXPECT_THAT(
      names_of(config_of("RWKV7ForCausalLM"),
               {"model.embeddings.weight", "model.layers.0.pre_norm.bias",
                "model.layers.0.ffn_norm.weight", "model.layers.0.ffn.x_k",
                "model.layers.0.attn.g_norm.weight", "model.layers.0.attn.r_proj.weight"}),
      ElementsAre("model.embed_norm.bias", "model.embed_tokens.weight", "model.layers.0.mlp.x_k",
                  "model.layers.0.post_attention_layernorm.weight",
                  "model.layers.0.self_attn.ln_x.weight",
                  "model.layers.0.self_attn.q_proj.weight"));
}

TEST(RecurrentNames, what_radlads_forward_passes_by_is_left_out) {
  Json config = config_of("RWKV7Qwen2ForCausalLM");
  const std::vector<std::string> idle = {"model.layers.0.self_attn.v0", kLayer + "r_k"};
  EXPECT_THAT(names_of(config, idle), IsEmpty());
  EXPECT_THAT(names_of(config, {kLayer + "v0", kLayer + "k_k"}),
              ElementsAre(kLayer + "k_k", kLayer + "v0"));
  EXPECT_THAT(names_of(config, {kLayer + "r_k", kLayer + "x_r"}),
              ElementsAre(kLayer + "r_k", kLayer + "x_r"))
      << "the first generation";
  config["balance_state"] = true;
  EXPECT_THAT(names_of(config, {kLayer + "k_k", kLayer + "k_a"}), IsEmpty());
}

TEST(RecurrentNames, mambas_parts_are_a_mixer_s) {
  const std::string mixer = "backbone.layers.1.mixer.";
  EXPECT_THAT(names_of(config_of("Mamba2ForCausalLM"),
                       {"backbone.embeddings.weight", "backbone.layers.1.norm.weight",
                        mixer + "norm.weight", "backbone.norm_f.weight", "lm_head.weight"}),
              ElementsAre("lm_head.weight", "model.embed_tokens.weight",
                          "model.layers.1.input_layernorm.weight", kLayer + "norm.weight",
                          "model.norm.weight"));
  EXPECT_THAT(names_of(config_of("LlambaForCausalLM"),
                       {"backbone.embedding.weight", mixer + "z_bias",
                        "backbone.layers.1.mlp.up_proj.weight", "backbone.final_layernorm.weight"}),
              ElementsAre("model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight",
                          kLayer + "z_bias", "model.norm.weight"));
  Json llama = config_of("LlamaForCausalLM");
  EXPECT_THAT(names_of(llama, {"model.layers.1.mamba.D"}), ElementsAre("model.layers.1.mamba.D"));
  llama["mamba_config"] = Json::object();
  EXPECT_THAT(names_of(llama, {"model.layers.1.mamba.D", "model.layers.2.self_attn.q_proj.weight"}),
              ElementsAre(kLayer + "D", "model.layers.2.self_attn.q_proj.weight"));
}

}  // namespace
}  // namespace hypenet
