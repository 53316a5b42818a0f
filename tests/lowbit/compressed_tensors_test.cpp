// The layouts that are written: what is packed is read back, by the config that is written with it.
#include "lowbit/compressed_tensors.h"

#include <gtest/gtest.h>

#include "lowbit/quantised_folder.h"
#include "lowbit/rounding.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

const std::string kModule = "model.layers.0.mlp.up_proj";

/// Read from a folder that has this matrix alone.
QuantisedMatrix read_back(const QuantisedMatrix& matrix) {
  const ModuleTensors packed = pack_compressed(matrix);
  QuantisedFolder::Types types;
  ModuleTensors stored;
  for (const auto& [ending, tensor] : packed) {
    types[kModule + "." + ending] = tensor.scalar_type();
    stored[kModule + "." + ending] = tensor;
  }
  const Json config = {
      {"quantization_config", compressed_config(compressed_scheme(matrix), {"lm_head"})}};
  const QuantisedFolder folder(config, "config.json", "folder", types);
  EXPECT_EQ(folder.names(), std::vector<std::string>{kModule + ".weight"});
  return folder.matrix(kModule + ".weight",
                       [&](const std::string& name) { return stored.at(name); });
}

void expect_equal(const QuantisedMatrix& found, const QuantisedMatrix& expected) {
  EXPECT_EQ(found.type, expected.type);
  EXPECT_EQ(found.rows, expected.rows);
  EXPECT_EQ(found.columns, expected.columns);
  EXPECT_EQ(found.group, expected.group);
  EXPECT_EQ(found.scale_rows, expected.scale_rows);
  EXPECT_TRUE(torch::equal(found.scales, expected.scales));
  EXPECT_EQ(found.zeros.defined(), expected.zeros.defined());
  EXPECT_TRUE(!found.zeros.defined() || torch::equal(found.zeros, expected.zeros));
  EXPECT_TRUE(torch::equal(found.expand(), expected.expand()));
}

TEST(CompressedTensors, what_is_written_is_read_back) {
  torch::manual_seed(1);
  const Tensor weight = torch::randn({19, 48});
  const std::vector<RoundingForm> forms = {
      {.type = CodeType::kInt4, .group = 16},
      {.type = CodeType::kInt4, .group = 16, .has_zeros = true},
      {.type = CodeType::kInt4},
      {.type = CodeType::kInt4, .has_zeros = true, .scale_type = torch::kFloat16},
      {.type = CodeType::kInt8},
      {.type = CodeType::kInt8, .group = 24},
      {.type = CodeType::kFloat8},
      {.type = CodeType::kFloat8, .scale_rows = 0},
      {.type = CodeType::kFloat8, .group = 32, .scale_rows = 8}};
  for (const RoundingForm& form : forms) {
    const QuantisedMatrix matrix = round_to_nearest(weight, form);
    SCOPED_TRACE(describe_form(matrix));
    expect_equal(read_back(matrix), matrix);
  }
}

TEST(CompressedTensors, columns_need_not_fill_their_last_word) {
  const QuantisedMatrix matrix = round_to_nearest(torch::randn({3, 21}), {.type = CodeType::kInt4});
  EXPECT_EQ(pack_compressed(matrix).at("weight_packed").sizes(), (std::vector<int64_t>{3, 3}));
  expect_equal(read_back(matrix), matrix);
}

TEST(CompressedTensors, codes_of_int4_and_8_bits_are_the_stored_bytes) {
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8, CodeType::kFloat8}) {
    const QuantisedMatrix matrix = round_to_nearest(torch::randn({4, 16}), {.type = type});
    const StoredModule stored{.place = "m", .tensors = pack_compressed(matrix)};
    const Tensor codes = unpack_compressed(stored, compressed_scheme(matrix)).codes;
    const std::string ending = type == CodeType::kInt4 ? "weight_packed" : "weight";
    EXPECT_EQ(codes.data_ptr(), stored.tensors.at(ending).data_ptr());
  }
}

TEST(CompressedTensors, what_others_could_not_read_is_not_written) {
  QuantisedMatrix matrix =
      round_to_nearest(torch::randn({4, 20}), {.type = CodeType::kInt4, .group = 8});
  EXPECT_ERROR(pack_compressed(matrix), "expected a multiple of 8 columns, found 20");
  matrix = round_to_nearest(torch::randn({4, 16}), {.type = CodeType::kInt4, .group = 8});
  matrix.group_of_column = torch::arange(16, torch::kInt32).remainder(2);
  EXPECT_ERROR(pack_compressed(matrix), "expected groups of neighbouring columns, found others");
  matrix.group_of_column.reset();
  matrix.zeros = torch::full({4, 2}, 8, torch::kInt16);
  EXPECT_ERROR(pack_compressed(matrix), "expected zeros of at most 7, found 8");
}

}  // namespace
}  // namespace hypenet
