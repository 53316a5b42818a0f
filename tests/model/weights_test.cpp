// Between models and checkpoint folders: names, round trips, and errors that name file and tensor.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "model/causal_lm.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

void save(const fs::path& folder, CausalLmImpl& model, torch::ScalarType type) {
  CheckpointContents contents;
  contents.config = to_json(model.config());
  contents.tensors = named_weights(model, type);
  write_checkpoint(folder, contents);
}

TEST(Weights, carry_the_published_names) {
  CausalLm model(tiny_hypenet_config());
  const std::vector<std::string> attention = {"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                              "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                                              "self_attn.q_norm.weight", "self_attn.k_norm.weight",
                                              "self_attn.o_gate.weight"};
  const std::vector<std::string> lightning = {"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                              "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                                              "self_attn.q_norm.weight", "self_attn.k_norm.weight",
                                              "self_attn.o_norm.weight", "self_attn.z_proj.weight"};
  std::set<std::string> expected = {"model.embed_tokens.weight", "model.norm.weight"};
  for (int64_t i = 0; i < 3; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    for (const auto& name : i == 1 ? attention : lightning) expected.insert(layer + name);
    for (const char* name :
         {"input_layernorm.weight", "post_attention_layernorm.weight", "mlp.gate_proj.weight",
          "mlp.up_proj.weight", "mlp.down_proj.weight"}) {
      expected.insert(layer + name);
    }
  }
  const auto keys = model->named_parameters().keys();
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()), expected);
  EXPECT_EQ(model->named_buffers().size(), 0u);
}

TEST(Weights, fresh_models_are_normal_with_unit_norms) {
  torch::manual_seed(3);
  CausalLm model(tiny_teacher_config());
  for (const auto& parameter : model->named_parameters()) {
    const Tensor& x = parameter.value();
    if (x.dim() == 1) {
      EXPECT_TRUE(torch::equal(x, torch::ones_like(x))) << parameter.key();
    } else {
      EXPECT_NEAR(x.std().item<float>(), 0.02, 0.003) << parameter.key();
    }
  }
}

TEST(Weights, save_then_load_gives_the_same_bytes_and_logits) {
  for (const bool tied : {true, false}) {
    torch::manual_seed(4);
    ModelConfig config = tiny_hypenet_config();
    config.tie_word_embeddings = tied;
    config.torch_dtype = "float32";
    CausalLm model(config);
    const TemporaryFolder folder;
    save(folder.path() / "a", *model, torch::kFloat32);
    CausalLm loaded = load_model(Checkpoint(folder.path() / "a"));
    const torch::NoGradGuard no_grad;
    const Tensor ids = torch::arange(30).view({1, 30});
    EXPECT_TRUE(torch::equal(loaded(ids), model(ids)));
    save(folder.path() / "b", *loaded, torch::kFloat32);
    for (const char* file : {"config.json", "model.safetensors"}) {
      EXPECT_EQ(read_file(folder.path() / "a" / file), read_file(folder.path() / "b" / file))
          << file;
    }
  }
}

TEST(Weights, loaded_parameters_are_trainable_copies_of_the_asked_type) {
  const TemporaryFolder folder;
  CausalLm model(tiny_teacher_config());
  save(folder.path() / "m", *model, torch::kBFloat16);
  const Checkpoint checkpoint(folder.path() / "m");
  for (const Tensor& x : load_model(checkpoint, std::nullopt)->parameters()) {
    EXPECT_EQ(x.scalar_type(), torch::kBFloat16);
  }
  CausalLm loaded = load_model(checkpoint);
  loaded(torch::arange(8).view({1, 8})).sum().backward();
  const torch::NoGradGuard no_grad;
  for (Tensor& x : loaded->parameters()) {
    EXPECT_EQ(x.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(x.grad().defined());
    x.add_(1);
  }
}

TEST(Weights, a_tied_model_passes_over_a_stored_copy_of_its_head) {
  const TemporaryFolder folder;
  CausalLm model(tiny_teacher_config());
  CheckpointContents contents;
  contents.config = to_json(model->config());
  contents.tensors = named_weights(*model, torch::kFloat32);
  contents.tensors.emplace_back("lm_head.weight", torch::zeros({64, 32}));
  write_checkpoint(folder.path() / "m", contents);
  CausalLm loaded = load_model(Checkpoint(folder.path() / "m"));
  EXPECT_TRUE(torch::equal(loaded->head_weight(), model->head_weight()));
}

TEST(WeightsErrors, name_file_and_tensor) {
  const TemporaryFolder folder;
  CausalLm model(tiny_teacher_config());
  CheckpointContents good;
  good.config = to_json(model->config());
  good.tensors = named_weights(*model, torch::kFloat32);
  int count = 0;
  const auto load = [&](const CheckpointContents& contents) {
    const fs::path path = folder.path() / std::to_string(count++);
    write_checkpoint(path, contents);
    return load_model(Checkpoint(path));
  };
  CheckpointContents bad = good;
  std::erase_if(bad.tensors, [](const auto& entry) {
    return entry.first == "model.layers.1.self_attn.q_norm.weight";
  });
  EXPECT_ERROR(load(bad), "model.layers.1.self_attn.q_norm.weight");
  bad = good;
  bad.tensors.emplace_back("model.layers.2.mlp.up_proj.weight", torch::zeros({2, 2}));
  EXPECT_ERROR(load(bad), "1: tensor model.layers.2.mlp.up_proj.weight: expected only tensors of");
  bad = good;
  bad.tensors.back().second = torch::zeros({31});
  EXPECT_ERROR(load(bad), "tensor model.norm.weight: expected shape [32], found [31]");
  bad = good;
  bad.config["num_key_value_heads"] = 3;
  EXPECT_ERROR(load(bad), "config.json: num_key_value_heads: expected a divisor");
}

}  // namespace
}  // namespace hypenet
