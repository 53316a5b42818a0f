// Between models and checkpoint folders: names, round trips, and errors that name file and tensor.
#include "model/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
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

TEST(Weights, what_decays_are_made_of_stays_float32) {
  ModelConfig config = tiny_hypenet_config();
  config.mixer_types = {&kGdnMixer, &kAttentionMixer, &kKdaMixer};
  config.mixers.of<GdnConfig>() = {.nh = 4, .nkv = 4, .head_dim = 16};
  config.mixers.of<KdaConfig>() = {.head_dim = 16, .num_heads = 4};
  CausalLm model(config);
  const TemporaryFolder folder;
  save(folder.path() / "m", *model, torch::kBFloat16);
  const auto before = model->named_parameters();
  for (const auto type : {std::optional(torch::kBFloat16), std::optional<torch::ScalarType>()}) {
    const CausalLm loaded = load_model(Checkpoint(folder.path() / "m"), type);
    for (const auto& item : loaded->named_parameters()) {
      const bool is_own = item.key().ends_with("A_log") || item.key().ends_with("dt_bias");
      EXPECT_EQ(item.value().scalar_type(), is_own ? torch::kFloat32 : torch::kBFloat16)
          << item.key();
      EXPECT_TRUE(!is_own || torch::equal(item.value(), before[item.key()])) << item.key();
    }
  }
}

/// A tied model's folder with a head beside it; its notes as they are told.
struct WithHead {
  explicit WithHead(const Tensor& head, bool has_embedding = true) {
    CheckpointContents contents;
    contents.config = to_json(model->config());
    contents.tensors = named_weights(*model, torch::kFloat32);
    if (!has_embedding) contents.tensors.erase(contents.tensors.begin());
    if (head.defined()) contents.tensors.emplace_back("lm_head.weight", head);
    write_checkpoint(folder.path() / "m", contents);
  }
  Tensor embedding() const { return model->head_weight().detach(); }
  ModelConfig read() {
    return read_model_config(Checkpoint(folder.path() / "m"),
                             [this](const std::string& text) { notes.push_back(text); });
  }

  TemporaryFolder folder;
  CausalLm model = CausalLm(tiny_teacher_config());
  std::vector<std::string> notes;
};

TEST(Weights, a_stored_head_that_differs_is_used_and_told) {
  const Tensor head = torch::randn({64, 32});
  WithHead files(head);
  EXPECT_FALSE(files.read().tie_word_embeddings);
  ASSERT_EQ(files.notes.size(), 1u);
  EXPECT_NE(files.notes[0].find("config.json: tie_word_embeddings is true, but lm_head.weight"),
            std::string::npos);
  CausalLm loaded = load_model(Checkpoint(files.folder / "m"));
  EXPECT_TRUE(torch::equal(loaded->head_weight(), head));
  // Saved, it says what it is.
  save(files.folder / "again", *loaded, torch::kFloat32);
  const Checkpoint again(files.folder / "again");
  EXPECT_EQ(again.config().at("tie_word_embeddings"), false);
  EXPECT_TRUE(torch::equal(load_model(again)->head_weight(), head));
}

TEST(Weights, the_reported_checkpoint_s_logits_are_those_of_its_head) {
  const Checkpoint checkpoint(HYPENET_TEST_DATA "/tied-head-differs");
  CausalLm model = load_model(checkpoint);
  const torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(1, 4).view({1, 3});
  const Tensor expected = model->hidden(ids).matmul(checkpoint.tensor("lm_head.weight").t());
  EXPECT_TRUE(torch::allclose(model(ids), expected));
}

TEST(Weights, a_tied_head_alone_is_the_embedding) {
  const Tensor head = torch::randn({64, 32});
  WithHead files(head, /*has_embedding=*/false);
  EXPECT_TRUE(files.read().tie_word_embeddings);
  EXPECT_TRUE(torch::equal(load_model(Checkpoint(files.folder / "m"))->head_weight(), head));
}

TEST(Weights, the_type_is_the_one_that_most_bytes_are_stored_in) {
  const TemporaryFolder folder;
  const auto type_of = [&](const NamedTensors& tensors) {
    write_checkpoint(folder / "m", {.config = Json::object(), .tensors = tensors});
    return stored_type(Checkpoint(folder / "m"));
  };
  const Tensor large = torch::ones({9}), small = torch::ones({2});
  EXPECT_EQ(type_of({{"a", large}, {"b", small.to(torch::kBFloat16)}}), torch::kFloat32);
  EXPECT_EQ(type_of({{"a", small}, {"b", large.to(torch::kBFloat16)}}), torch::kBFloat16);
  EXPECT_EQ(type_of({{"a", large.to(torch::kFloat16)}, {"b", large.to(torch::kInt64)}}),
            torch::kFloat16);
}

TEST(Weights, a_tied_model_passes_over_an_equal_copy_of_its_head) {
  TemporaryFolder folder;
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    CausalLm model(tiny_teacher_config());
    CheckpointContents contents;
    contents.config = to_json(model->config());
    contents.tensors = named_weights(*model, torch::kFloat32);
    contents.tensors.emplace_back("lm_head.weight", model->head_weight().detach().to(type));
    write_checkpoint(folder / "m", contents);
    EXPECT_TRUE(read_model_config(Checkpoint(folder / "m")).tie_word_embeddings);
    CausalLm loaded = load_model(Checkpoint(folder / "m"));
    EXPECT_TRUE(torch::equal(loaded->head_weight(), model->head_weight()));
  }
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
  EXPECT_ERROR(load(bad), "as well (config.json: num_hidden_layers is 2)");
  bad = good;
  bad.tensors.emplace_back("model.layers.0.self_attn.q_proj.bias", torch::zeros({64}));
  EXPECT_ERROR(load(bad), "found this one as well (config.json: attention_bias is false)");
  // So many would take minutes to make.
  bad = good;
  bad.config["num_hidden_layers"] = 1 << 20;
  if (bad.config.contains("mixer_types")) {
    bad.config["mixer_types"] = Json(std::vector<std::string>(1 << 20, "attn"));
  }
  EXPECT_ERROR(load(bad),
               "tensors model.layers.2.*: expected in the checkpoint, found none (config.json: "
               "num_hidden_layers is 1048576)");
  bad = good;
  bad.config["tie_word_embeddings"] = false;
  EXPECT_ERROR(load(bad),
               "tensor lm_head.weight: expected in the checkpoint, found none "
               "(config.json: tie_word_embeddings is false)");
  bad = good;
  bad.tensors.back().second = torch::zeros({31});
  EXPECT_ERROR(load(bad), "tensor model.norm.weight: expected shape [32], found [31]");
  bad = good;
  bad.config["num_key_value_heads"] = 3;
  EXPECT_ERROR(load(bad), "config.json: num_key_value_heads: expected a divisor");
}

}  // namespace
}  // namespace hypenet
