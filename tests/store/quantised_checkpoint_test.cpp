// Quantised folders as other code writes them, to the numbers that it reads from them
// (tests/data/quantised, tools/write_quantised_fixtures.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lowbit/compressed_tensors.h"
#include "lowbit/rounding.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;

const fs::path kFolders = fs::path(HYPENET_TEST_DATA) / "quantised";

class QuantisedFixture : public testing::TestWithParam<const char*> {};

TEST_P(QuantisedFixture, matrices_are_what_other_code_reads) {
  const fs::path folder = kFolders / GetParam();
  const Checkpoint checkpoint(folder);
  const SafetensorsFile values(folder / "values.safetensors");
  ASSERT_FALSE(values.names().empty());
  for (const std::string& name : values.names()) {
    SCOPED_TRACE(name);
    const Tensor expected = values.tensor(name);
    const TensorFacts facts = checkpoint.facts(name, expected.sizes().vec());
    EXPECT_TRUE(facts.is_packed());
    EXPECT_EQ(facts.type, torch::kFloat32);
    EXPECT_TRUE(torch::equal(checkpoint.tensor(name, expected.sizes().vec()), expected));
    const auto matrix = checkpoint.quantised(name);
    ASSERT_TRUE(matrix.has_value());
    EXPECT_TRUE(torch::equal(matrix->expand(), expected));
  }
  EXPECT_FALSE(checkpoint.quantised("model.norm.weight").has_value());
  EXPECT_EQ(checkpoint.tensor("model.norm.weight").scalar_type(), torch::kBFloat16);
}

TEST_P(QuantisedFixture, all_tensors_come_in_the_type_that_is_asked_for) {
  Checkpoint checkpoint(kFolders / GetParam());
  checkpoint.expand_as(torch::kBFloat16);
  const SafetensorsFile values(kFolders / GetParam() / "values.safetensors");
  for (const std::string& name : checkpoint.names()) {
    EXPECT_EQ(checkpoint.facts(name).type, torch::kBFloat16) << name;
    const Tensor tensor = checkpoint.tensor(name);
    EXPECT_EQ(tensor.scalar_type(), torch::kBFloat16) << name;
    if (!values.contains(name)) continue;
    EXPECT_TRUE(torch::equal(tensor, values.tensor(name).to(torch::kBFloat16))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(, QuantisedFixture,
                         testing::Values("pack", "pack-zeros", "pack-8", "pack-8-zeros",
                                         "pack-order", "int", "float-rows", "float-one",
                                         "naive-blocks", "gptq", "gptq-zeros", "gptq-v2-order",
                                         "gptq-8-dynamic", "awq", "fp8-blocks", "fp8-rows",
                                         "fp8-static", "autogptq", "autogptq-8-order", "gptqmodel",
                                         "gptqmodel-zeros", "gptqmodel-v2-order", "gptqmodel-8",
                                         "autoawq"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(QuantisedCheckpoint, what_is_left_aside_is_told) {
  EXPECT_THAT(Checkpoint(kFolders / "fp8-static").notes(),
              ElementsAre((kFolders / "fp8-static").string() +
                          ": left aside, as neither is rounded here: 2 scales of activations, "
                          "2 scales of keys and values"));
  EXPECT_THAT(Checkpoint(kFolders / "gptq").notes(), ElementsAre());
}

TEST(QuantisedCheckpoint, forms_are_counted) {
  EXPECT_EQ(Checkpoint(kFolders / "gptq-8-dynamic").quantised_forms(),
            (std::map<std::string, int64_t>{{"int4 with a scale a row", 1},
                                            {"int8 with a scale a row", 1}}));
  EXPECT_EQ(Checkpoint(kFolders / "gptq-8-dynamic").quantisation_method(), "gptq");
}

TEST(QuantisedCheckpoint, another_shape_than_expected_is_told_by_the_plain_name) {
  const Checkpoint checkpoint(kFolders / "awq");
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  const std::vector<int64_t> other = {24, 31};
  EXPECT_ERROR(checkpoint.facts(name, other),
               "tensor " + name + ": expected shape [24, 31], found [24, 32]");
  EXPECT_ERROR(checkpoint.tensor(name, other),
               "tensor " + name + ": expected shape [24, 31], found [24, 32]");
}

/// A folder of this config and these tensors, in shards of `shard_bytes`.
void write_folder(const fs::path& folder, const Json& config, const NamedTensors& tensors,
                  int64_t shard_bytes = 1 << 20) {
  write_checkpoint(folder, {.config = config, .tensors = tensors, .shard_bytes = shard_bytes});
}

NamedTensors module_of(const std::string& module, const QuantisedMatrix& matrix) {
  NamedTensors tensors;
  for (const auto& [ending, tensor] : pack_compressed(matrix)) {
    tensors.emplace_back(module + "." + ending, tensor);
  }
  return tensors;
}

TEST(QuantisedCheckpoint, parts_of_a_matrix_may_lie_in_different_shards) {
  TemporaryFolder out;
  const QuantisedMatrix matrix =
      round_to_nearest(torch::randn({8, 32}), {.type = CodeType::kInt4, .group = 16});
  const Json config = {{"quantization_config", compressed_config(compressed_scheme(matrix), {})}};
  write_folder(out / "model", config, module_of("m", matrix), 1);
  ASSERT_TRUE(fs::exists(out / "model" / "model-00003-of-00003.safetensors"));
  const Checkpoint checkpoint(out / "model");
  EXPECT_THAT(checkpoint.names(), ElementsAre("m.weight"));
  EXPECT_TRUE(torch::equal(checkpoint.tensor("m.weight"), matrix.expand()));
  EXPECT_EQ(checkpoint.stored("m.weight").size(), 3u);
}

TEST(QuantisedCheckpoint, codes_share_the_file_and_are_what_was_written) {
  TemporaryFolder out;
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8, CodeType::kFloat8}) {
    const QuantisedMatrix matrix = round_to_nearest(torch::randn({8, 32}), {.type = type});
    const Json config = {{"quantization_config", compressed_config(compressed_scheme(matrix), {})}};
    const fs::path folder = out / std::string(code_type_name(type));
    write_folder(folder, config, module_of("m", matrix));
    const Checkpoint checkpoint(folder);
    const auto first = checkpoint.quantised("m.weight"), second = checkpoint.quantised("m.weight");
    EXPECT_EQ(first->codes.data_ptr(), second->codes.data_ptr());
    EXPECT_TRUE(torch::equal(first->codes.view(torch::kUInt8), matrix.codes.view(torch::kUInt8)));
  }
}

/// Qwen3.5 stores a head's query and gate as one matrix, which is cut at load.
TEST(QuantisedCheckpoint, fused_matrices_of_other_projects_are_cut_after_they_are_expanded) {
  TemporaryFolder out;
  const QuantisedMatrix matrix =
      round_to_nearest(torch::randn({16, 32}), {.type = CodeType::kInt8});
  const Json config = {{"architectures", {"Qwen3_5ForCausalLM"}},
                       {"head_dim", 4},
                       {"num_attention_heads", 2},
                       {"partial_rotary_factor", 1.0},
                       {"quantization_config", compressed_config(compressed_scheme(matrix), {})}};
  const std::string mixer = "model.layers.0.self_attn.";
  write_folder(out / "model", config, module_of(mixer + "q_proj", matrix));
  const Checkpoint checkpoint(out / "model");
  EXPECT_THAT(checkpoint.names(), ElementsAre(mixer + "o_gate.weight", mixer + "q_proj.weight"));
  const Tensor heads = matrix.expand().reshape({2, 8, 32});
  EXPECT_TRUE(torch::equal(checkpoint.tensor(mixer + "o_gate.weight"),
                           heads.narrow(1, 4, 4).reshape({8, 32})));
  EXPECT_FALSE(checkpoint.quantised(mixer + "q_proj.weight").has_value());
  EXPECT_EQ(checkpoint.facts(mixer + "q_proj.weight").shape, (std::vector<int64_t>{8, 32}));
}

}  // namespace
}  // namespace hypenet
