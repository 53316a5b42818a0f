// Weight transfer and the hybrid: what is copied, repeated and new.
#include "halo/transfer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "halo/hybrid.h"
#include "model/causal_lm.h"
#include "model/mixers/nha.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing_support::tiny_teacher_config;

/// A random teacher's folder.
Checkpoint write_teacher(const std::filesystem::path& folder, const ModelConfig& config) {
  torch::manual_seed(4);
  CausalLm model(config);
  write_checkpoint(folder,
                   {.config = to_json(config), .tensors = named_weights(*model, torch::kFloat32)});
  return Checkpoint(folder);
}

Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [other, tensor] : tensors) {
    if (other == name) return tensor;
  }
  throw Error("no tensor " + name);
}

class Transfer : public testing::Test {
 protected:
  TemporaryFolder folder_;
  ModelConfig teacher_config_ = tiny_teacher_config();
  Checkpoint teacher_ = write_teacher(folder_ / "teacher", teacher_config_);
};

TEST_F(Transfer, key_and_value_heads_are_repeated_in_place) {
  const auto config = hypenet_config(teacher_config_, mixer_types(2, {}));
  const auto tensors = transfer_weights(teacher_, config, {});
  const Tensor before = teacher_.tensor(mixer_tensor(1, "k_proj.weight"));  // [G * d, D] = [32, 32]
  const Tensor after = find(tensors, mixer_tensor(1, "k_proj.weight"));     // [H * d, D] = [64, 32]
  ASSERT_EQ(after.sizes(), (std::vector<int64_t>{64, 32}));
  for (int64_t head = 0; head < 4; ++head) {
    EXPECT_TRUE(torch::equal(after.narrow(0, head * 16, 16), before.narrow(0, head / 2 * 16, 16)))
        << head;
  }
  EXPECT_TRUE(torch::equal(find(tensors, mixer_tensor(0, "q_proj.weight")),
                           teacher_.tensor(mixer_tensor(0, "q_proj.weight"))));
  EXPECT_TRUE(torch::equal(find(tensors, mixer_tensor(0, "o_norm.weight")), torch::ones({64})));
}

TEST_F(Transfer, the_model_loads_and_new_gates_depend_on_seed_and_layer) {
  const auto config = hypenet_config(teacher_config_, mixer_types(2, {}));
  write_checkpoint(folder_ / "twins", {.config = to_json(config),
                                       .tensors = transfer_weights(teacher_, config, {0.02, 7})});
  CausalLm twins = load_model(Checkpoint(folder_ / "twins"));
  EXPECT_EQ(twins->config().mixer_types, mixer_types(2, {}));
  EXPECT_TRUE(twins->forward(torch::ones({1, 5}, torch::kInt64)).isfinite().all().item<bool>());
  const auto gate = [&](int64_t layer, uint64_t seed) {
    return new_gate({64, 32}, layer, {0.02, seed}, torch::kFloat32);
  };
  EXPECT_TRUE(torch::equal(gate(0, 7), gate(0, 7)));
  EXPECT_FALSE(torch::equal(gate(0, 7), gate(1, 7)));
  EXPECT_FALSE(torch::equal(gate(0, 7), gate(0, 8)));
  EXPECT_NEAR(gate(0, 7).std().item<double>(), 0.02, 0.002);
}

TEST_F(Transfer, biases_of_a_qwen2_teacher_come_along) {
  ModelConfig config = teacher_config_;
  config.architecture = Architecture::kQwen2, config.attention_bias = true,
  config.has_qk_norm = false;
  const Checkpoint teacher = write_teacher(folder_ / "qwen2", config);
  const auto twin_config = hypenet_config(config, mixer_types(2, {}));
  const auto tensors = transfer_weights(teacher, twin_config, {});
  EXPECT_EQ(find(tensors, mixer_tensor(0, "v_proj.bias")).sizes(), (std::vector<int64_t>{64}));
  EXPECT_TRUE(torch::equal(find(tensors, mixer_tensor(0, "q_norm.weight")), torch::ones({16})));
  write_checkpoint(folder_ / "twins", {.config = to_json(twin_config), .tensors = tensors});
  load_model(Checkpoint(folder_ / "twins"));
  write_checkpoint(folder_ / "hybrid",
                   {.config = to_json(hypenet_config(config, mixer_types(2, {1}))),
                    .tensors = hybrid_weights(teacher, Checkpoint(folder_ / "twins"), {1}, {})});
  CausalLm hybrid = load_model(Checkpoint(folder_ / "hybrid"));
  EXPECT_TRUE(hybrid->forward(torch::ones({1, 5}, torch::kInt64)).isfinite().all().item<bool>());
}

TEST_F(Transfer, the_hybrid_takes_selected_layers_from_the_teacher_and_the_rest_from_the_twins) {
  const auto twin_config = hypenet_config(teacher_config_, mixer_types(2, {}));
  auto tensors = transfer_weights(teacher_, twin_config, {});
  for (auto& [name, tensor] : tensors) {
    if (name.find(".self_attn.") != std::string::npos) tensor = tensor + 1;  // as if aligned
  }
  write_checkpoint(folder_ / "twins", {.config = to_json(twin_config), .tensors = tensors});
  const Checkpoint twins(folder_ / "twins");
  const auto hybrid = hybrid_weights(teacher_, twins, {1}, {});
  EXPECT_TRUE(torch::equal(find(hybrid, mixer_tensor(0, "k_proj.weight")),
                           twins.tensor(mixer_tensor(0, "k_proj.weight"))));
  EXPECT_TRUE(torch::equal(find(hybrid, mixer_tensor(1, "k_proj.weight")),
                           teacher_.tensor(mixer_tensor(1, "k_proj.weight"))));
  EXPECT_EQ(find(hybrid, mixer_tensor(1, "o_gate.weight")).sizes(), (std::vector<int64_t>{64, 32}));
  EXPECT_THROW(find(hybrid, mixer_tensor(1, "z_proj.weight")), Error);
  EXPECT_THROW(find(hybrid, mixer_tensor(0, "o_gate.weight")), Error);
  write_checkpoint(
      folder_ / "hybrid",
      {.config = to_json(hypenet_config(teacher_config_, mixer_types(2, {1}))), .tensors = hybrid});
  load_model(Checkpoint(folder_ / "hybrid"));
}

TEST_F(Transfer, twins_of_the_delta_rule_have_the_rows_that_were_computed_elsewhere) {
  ModelConfig config = teacher_config_;
  config.hidden_size = 24, config.num_attention_heads = 4, config.num_key_value_heads = 2;
  config.head_dim = 8, config.num_hidden_layers = 1, config.mixer_types.resize(1);
  CausalLm model(config);
  for (const char* mixer : {"gdn", "kda"}) {
    const SafetensorsFile file(concat(HYPENET_TEST_DATA "/mixers/", mixer, "-layers.safetensors"));
    auto weights = named_weights(*model, torch::kBFloat16);
    for (auto& [name, tensor] : weights) {
      const std::string prefix = mixer_tensor(0, "");
      if (name.starts_with(prefix)) {
        tensor = file.tensor("transfer.teacher." + name.substr(prefix.size()));
      }
    }
    write_checkpoint(folder_ / mixer, {.config = to_json(config), .tensors = weights});
    const auto twin_config = hypenet_config(config, mixer_types(1, {}, mixer));
    const auto twins = transfer_weights(Checkpoint(folder_ / mixer), twin_config, {0.02, 7});
    for (const std::string& name : file.names()) {
      if (!name.starts_with("transfer.twin.")) continue;
      const Tensor found = find(twins, mixer_tensor(0, name.substr(std::strlen("transfer.twin."))));
      EXPECT_TRUE(torch::equal(found, file.tensor(name))) << name;
    }
    const Tensor rates = find(twins, mixer_tensor(0, "A_log")).exp();
    EXPECT_EQ(rates.numel(), 4);
    EXPECT_GT(rates.min().item<double>(), 0);
    EXPECT_LT(rates.max().item<double>(), 16);
    const Tensor steps = torch::softplus(find(twins, mixer_tensor(0, "dt_bias")));
    EXPECT_GT(steps.min().item<double>(), 0.0009);
    EXPECT_LT(steps.max().item<double>(), 0.11);
    const auto again = transfer_weights(Checkpoint(folder_ / mixer), twin_config, {0.02, 7});
    const auto other = transfer_weights(Checkpoint(folder_ / mixer), twin_config, {0.02, 8});
    for (const char* name : {"A_log", "dt_bias", "b_proj.weight"}) {
      const std::string full = mixer_tensor(0, name);
      EXPECT_TRUE(torch::equal(find(again, full), find(twins, full))) << name;
      EXPECT_FALSE(torch::equal(find(other, full), find(twins, full))) << name;
    }
  }
}

/// A teacher of one layer whose attention is a fixture's.
Checkpoint write_fixture_teacher(const std::filesystem::path& folder, const SafetensorsFile& file,
                                 const ModelConfig& config) {
  CausalLm model(config);
  auto weights = named_weights(*model, torch::kFloat32);
  for (auto& [name, tensor] : weights) {
    const std::string prefix = mixer_tensor(0, "");
    if (name.starts_with(prefix)) {
      tensor = file.tensor("transfer.teacher." + name.substr(prefix.size()));
    }
  }
  write_checkpoint(folder, {.config = to_json(config), .tensors = weights});
  return Checkpoint(folder);
}

TEST_F(Transfer, twins_with_one_projection_have_the_rows_that_were_computed_elsewhere) {
  ModelConfig config = teacher_config_;
  config.hidden_size = 24, config.num_attention_heads = 4, config.num_key_value_heads = 2;
  config.head_dim = 8, config.num_hidden_layers = 1, config.mixer_types.resize(1);
  for (const char* mixer : {"mamba2", "supra"}) {
    const SafetensorsFile file(concat(HYPENET_TEST_DATA "/mixers/", mixer, "-layers.safetensors"));
    const Checkpoint teacher = write_fixture_teacher(folder_ / mixer, file, config);
    const auto twins =
        transfer_weights(teacher, hypenet_config(config, mixer_types(1, {}, mixer)), {});
    const bool is_mamba = std::string_view(mixer) == "mamba2";
    Tensor rows = find(twins, mixer_tensor(0, "in_proj.weight"));
    if (is_mamba) rows = rows.narrow(0, 32, 64);  // behind z
    EXPECT_TRUE(
        torch::equal(rows, file.tensor(is_mamba ? "transfer.twin.in_proj.weight.rows_of_x_B_C"
                                                : "transfer.twin.in_proj.weight")));
    EXPECT_TRUE(torch::equal(find(twins, mixer_tensor(0, "out_proj.weight")),
                             file.tensor("transfer.twin.out_proj.weight")));
  }
}

TEST_F(Transfer, twins_with_the_teachers_key_heads_copy_it) {
  for (const char* mixer : {"nha", "rwkv7"}) {
    const auto twins =
        transfer_weights(teacher_, hypenet_config(teacher_config_, mixer_types(2, {}, mixer)), {});
    for (const char* part : {"q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight",
                             "q_norm.weight", "k_norm.weight"}) {
      const std::string name = mixer_tensor(1, part);
      EXPECT_TRUE(torch::equal(find(twins, name), teacher_.tensor(name))) << mixer << " " << part;
    }
  }
}

TEST_F(Transfer, slots_of_native_hybrid_attention_are_means_of_key_rows) {
  ModelConfig config = hypenet_config(teacher_config_, mixer_types(2, {}, "nha"));
  config.mixers.of<NhaConfig>().num_slots = 4;
  const auto twins = transfer_weights(teacher_, config, {});
  const Tensor keys = teacher_.tensor(mixer_tensor(0, "k_proj.weight"));  // [2 * 16, 32]
  const Tensor gates = find(twins, mixer_tensor(0, "g_proj.weight"));     // [2 * 4, 32]
  ASSERT_EQ(gates.size(0), 8);
  EXPECT_TRUE(torch::allclose(gates[5], keys.narrow(0, 20, 4).mean(0)));
}

TEST_F(Transfer, rwkv7_starts_with_open_gates_and_longer_memory_in_deeper_layers) {
  const auto twins =
      transfer_weights(teacher_, hypenet_config(teacher_config_, mixer_types(2, {}, "rwkv7")), {});
  const Tensor sums = find(twins, mixer_tensor(0, "g2")).sum(0);
  EXPECT_TRUE(torch::allclose(sums, torch::full_like(sums, 2), 1e-4));
  EXPECT_EQ(find(twins, mixer_tensor(0, "g1")).abs().max().item<float>(), 0);
  const Tensor w2 = 10 * find(twins, mixer_tensor(0, "w2"));  // [32, 64]
  EXPECT_TRUE(torch::allclose(w2.matmul(w2.t()), torch::eye(32), 1e-4, 1e-5));
  const Tensor first = find(twins, mixer_tensor(0, "w0")),
               last = find(twins, mixer_tensor(1, "w0"));
  EXPECT_LT(last.mean().item<float>(), first.mean().item<float>());
}

TEST_F(Transfer, biases_go_along_with_their_rows) {
  ModelConfig config = teacher_config_;
  config.architecture = Architecture::kQwen2;
  config.attention_bias = true, config.has_qk_norm = false;
  torch::manual_seed(4);
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : model->parameters()) parameter.normal_();
  write_checkpoint(folder_ / "qwen2",
                   {.config = to_json(config), .tensors = named_weights(*model, torch::kFloat32)});
  const Checkpoint teacher(folder_ / "qwen2");
  for (const char* mixer : {"mamba2", "nha", "rwkv7", "supra"}) {
    const auto twin_config = hypenet_config(config, mixer_types(2, {}, mixer));
    write_checkpoint(folder_ / mixer, {.config = to_json(twin_config),
                                       .tensors = transfer_weights(teacher, twin_config, {})});
    const Checkpoint twins(folder_ / mixer);
    load_model(twins);
    const bool is_stacked = !twins.contains(mixer_tensor(0, "v_proj.bias"));
    const int64_t place = std::string_view(mixer) == "mamba2" ? 64 : 96;  // of v's rows in in_proj
    const Tensor found = is_stacked
                             ? twins.tensor(mixer_tensor(0, "in_proj.bias")).narrow(0, place, 32)
                             : twins.tensor(mixer_tensor(0, "v_proj.bias"));
    EXPECT_TRUE(torch::equal(found, teacher.tensor(mixer_tensor(0, "v_proj.bias")))) << mixer;
  }
}

TEST_F(Transfer, layers_outside_the_model_and_a_hypenet_teacher_are_refused) {
  EXPECT_ERROR(mixer_types(2, {2}), "expected layers from 0 to 1, found 2");
  const auto config = hypenet_config(teacher_config_, mixer_types(2, {}));
  EXPECT_ERROR(hypenet_config(config, mixer_types(2, {})), "expected a Transformer");
}

}  // namespace
}  // namespace hypenet
