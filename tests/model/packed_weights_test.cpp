// Weights in few bits are the numbers that their files stand for, and models of them compute what
// models of those numbers do.
#include "model/packed_weights.h"

#include <gtest/gtest.h>

#include "model/weights.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/packed_gguf.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::packed_llama;
using testing_support::random_blocks;

Tensor random_ids(torch::IntArrayRef shape) { return torch::randint(48, shape, torch::kInt64); }

TEST(PackedWeights, expand_to_the_numbers_of_their_blocks_to_the_bit) {
  std::mt19937 random(1);
  constexpr int64_t kRows = 40, kColumns = 512, kPaired = 8;
  for (const BlockType type :
       {BlockType::kQ40, BlockType::kQ41, BlockType::kQ50, BlockType::kQ51, BlockType::kQ80,
        BlockType::kQ4K, BlockType::kQ5K, BlockType::kQ6K}) {
    const BlockLayout& layout = block_layout(type);
    const int64_t count = kRows * kColumns / layout.values;
    std::string blocks = random_blocks(type, count, 0.01F, random);
    Tensor expected = torch::empty({kRows, kColumns});
    expand_blocks(type, reinterpret_cast<const std::byte*>(blocks.data()), count,
                  expected.mutable_data_ptr<float>());
    const Tensor rows = torch::from_blob(
        blocks.data(), {kRows, kColumns / layout.values * layout.bytes}, torch::kUInt8);
    StoredBlocks stored{.stored = std::string(layout.name), .rows = rows, .columns = kColumns};
    const auto packed = pack_weight(stored, Activations::kInt8);
    EXPECT_TRUE(torch::equal(expand(*packed).view(torch::kInt32), expected.view(torch::kInt32)))
        << layout.name;
    stored.paired_rows = kPaired;
    const Tensor apart =
        expected.unflatten(0, {-1, kPaired / 2, 2}).transpose(1, 2).flatten(0, 2).contiguous();
    EXPECT_TRUE(torch::equal(expand(*pack_weight(stored, Activations::kInt8)), apart))
        << layout.name;
  }
}

class PackedModel : public testing::Test {
 protected:
  PackedModel() {
    write_file(folder_ / "m.gguf", packed_llama());
    checkpoint_.emplace(folder_ / "m.gguf");
  }
  CausalLm load(Activations activations) {
    CausalLm model = load_packed_model(*checkpoint_, read_model_config(*checkpoint_), activations);
    model->begin_inference();
    return model;
  }

  TemporaryFolder folder_;
  std::optional<Checkpoint> checkpoint_;
};

TEST_F(PackedModel, logits_are_those_of_the_expanded_weights) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  const Tensor ids = random_ids({2, 33});
  const Tensor expected = load_model(*checkpoint_, torch::kFloat32)(ids);
  EXPECT_LT(relative_rms(load(Activations::kFloat)(ids), expected), 1e-5);
  EXPECT_LT(relative_rms(load(Activations::kInt8)(ids), expected), 0.05);
}

TEST_F(PackedModel, matrices_have_no_other_memory_and_no_numbers_beside) {
  CausalLm model = load(Activations::kInt8);
  EXPECT_TRUE(has_packed_weights(*checkpoint_));
  for (const ModelMatrix& matrix : model->matrices()) {
    ASSERT_NE(matrix.weight->packed, nullptr) << matrix.name;
    EXPECT_EQ(matrix.weight->master.storage().nbytes(), 2U) << matrix.name;
    EXPECT_TRUE(matrix.weight->master[0][0].isnan().item<bool>()) << matrix.name;
  }
  EXPECT_EQ(model->memory_types().cache, torch::kBFloat16);
  model->prepare({.cache_type = torch::kFloat32});
  EXPECT_EQ(model->memory_types().cache, torch::kFloat32);
}

TEST_F(PackedModel, a_matrix_of_another_shape_is_refused) {
  PackedMemory memory;
  EXPECT_ERROR(packed_weight(*checkpoint_, "model.embed_tokens.weight", {48, 32},
                             Activations::kInt8, memory),
               "tensor model.embed_tokens.weight: expected shape [48, 32], found [48, 64]");
}

/// int4 in groups of 64 with zeros, and the same as int8.
QuantisedMatrix matrix_of(CodeType type) {
  QuantisedMatrix matrix{.type = type, .rows = 20, .columns = 192, .group = 64};
  const bool is_int4 = type == CodeType::kInt4;
  matrix.codes = is_int4 ? torch::randint(256, {20, 96}, torch::kUInt8)
                         : torch::randint(-128, 128, {20, 192}, torch::kInt8);
  matrix.scales = torch::rand({20, 3}).to(torch::kBFloat16);
  matrix.zeros = torch::randint(is_int4 ? -8 : -128, is_int4 ? 9 : 128, {20, 3}, torch::kInt16);
  return matrix;
}

TEST(PackedWeights, integers_are_the_numbers_that_their_matrices_expand_to) {
  torch::manual_seed(2);
  PackedMemory memory;
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8}) {
    for (const int64_t group : {64, 192}) {
      QuantisedMatrix matrix = matrix_of(type);
      matrix.group = group;
      if (group == 192) matrix.scales = matrix.scales.narrow(1, 0, 1), matrix.zeros = Tensor();
      matrix.scales = matrix.scales.contiguous();
      const auto packed = packed_weight(matrix, Activations::kInt8, memory);
      ASSERT_NE(packed, nullptr);
      EXPECT_TRUE(torch::equal(expand(*packed), matrix.expand()));
    }
  }
}

TEST(PackedWeights, what_products_do_not_read_is_left_to_be_expanded) {
  PackedMemory memory;
  const auto is_packed = [&](const QuantisedMatrix& matrix) {
    return packed_weight(matrix, Activations::kInt8, memory) != nullptr;
  };
  QuantisedMatrix matrix = matrix_of(CodeType::kInt8);
  EXPECT_TRUE(is_packed(matrix));
  matrix.zeros[3][1] = 128;
  EXPECT_FALSE(is_packed(matrix));
  matrix = matrix_of(CodeType::kInt4);
  matrix.group_of_column = torch::zeros({192}, torch::kInt32);
  EXPECT_FALSE(is_packed(matrix));
  matrix = matrix_of(CodeType::kInt4);
  matrix.group = 48;
  EXPECT_FALSE(is_packed(matrix));
  matrix.type = CodeType::kFloat8;
  EXPECT_FALSE(is_packed(matrix));
}

TEST(PackedFolder, matrices_are_the_folders) {
  PackedMemory memory;
  for (const char* name : {"int", "pack-8-zeros"}) {
    const Checkpoint checkpoint(fs::path(HYPENET_TEST_DATA) / "quantised" / name);
    EXPECT_TRUE(has_packed_weights(checkpoint)) << name;
    const std::string matrix = "model.layers.0.self_attn.q_proj.weight";
    const auto packed = packed_weight(checkpoint, matrix, {16, 64}, Activations::kInt8, memory);
    ASSERT_NE(packed, nullptr) << name;
    EXPECT_EQ(packed->stored, "int8");
    EXPECT_TRUE(torch::equal(expand(*packed), checkpoint.tensor(matrix).to(torch::kFloat32)));
  }
}

}  // namespace
}  // namespace hypenet
