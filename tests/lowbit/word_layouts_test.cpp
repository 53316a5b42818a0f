// GPTQ, AWQ and fp8: their rules, and what breaks them; each wrong field is one sentence.

#include <gtest/gtest.h>

#include "tests/lowbit/folder_in_memory.h"

namespace hypenet {
namespace {

using testing_support::as_gptq;
using testing_support::awq_folder;
using testing_support::expect_refused;
using testing_support::folder_of;
using testing_support::FolderInMemory;
using testing_support::fp8_folder;
using testing_support::gptq_folder;
using testing_support::gptq_keys;
using testing_support::kModule;
using testing_support::rounded;

TEST(Gptq, rules_for_modules_by_name_come_in_order) {
  const QuantisedMatrix wide = rounded(CodeType::kInt8, false, 0);
  FolderInMemory folder = folder_of(gptq_keys(), as_gptq(wide, 1));
  folder.quantisation["dynamic"] = {{"-:lm_head", Json::object()},
                                    {"+:.*up_proj", {{"bits", 8}, {"group_size", -1}}},
                                    {".*", {{"bits", 4}}}};
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), wide.expand()));
  folder.quantisation["dynamic"] = {{"-:.*up_proj", Json::object()}};
  EXPECT_ERROR(folder.matrix(), "out: tensor " + kModule +
                                    ".qweight: expected a plain weight, as quantization_config's "
                                    "dynamic \"-:.*up_proj\" says, found codes");
}

TEST(Gptq, a_zero_of_15_in_the_first_version_is_16) {
  FolderInMemory folder = gptq_folder();
  folder["qzeros"].fill_(-1);
  EXPECT_TRUE((folder.matrix().zeros == 8).all().item<bool>());
  folder.quantisation["checkpoint_format"] = "gptq_v2";
  EXPECT_TRUE((folder.matrix().zeros == 7).all().item<bool>());
}

TEST(Gptq, what_gptqmodel_took_from_words_of_zeros_is_given_back_to_words) {
  FolderInMemory folder = gptq_folder();
  folder["qzeros"].fill_(0x76543210 - 0x11111111);
  const Tensor expected = torch::arange(16).remainder(8).sub(8).view({16, 1}).expand({16, 4});
  for (const Json& writers : {Json("gptqmodel:7.7.0"), Json{"optimum:2.3.0", "gptqmodel:2.0.0"}}) {
    folder.quantisation["meta"] = {{"quantizer", writers}};
    EXPECT_TRUE(torch::equal(folder.matrix().zeros.to(torch::kInt64), expected)) << writers;
  }
  for (const Json& writers : {Json(), Json("autogptq:0.7.1"), Json::array(), Json(7)}) {
    folder.quantisation["meta"] = {{"quantizer", writers}};
    EXPECT_EQ(folder.matrix().zeros[0][0].item<int64_t>(), 8) << writers;
  }
}

TEST(Gptq, zeros_in_the_middle_and_groups_in_order_are_none) {
  const QuantisedMatrix matrix =
      folder_of(gptq_keys(), as_gptq(rounded(CodeType::kInt4), 1)).matrix();
  EXPECT_FALSE(matrix.zeros.defined());
  EXPECT_FALSE(matrix.group_of_column.defined());
}

TEST(Gptq, columns_of_any_group_are_read) {
  QuantisedMatrix matrix = rounded(CodeType::kInt4, true);
  matrix.group_of_column = torch::randperm(64).remainder(4).to(torch::kInt32);
  const FolderInMemory folder = folder_of(gptq_keys(), as_gptq(matrix, 1));
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand()));
}

TEST(Gptq, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(FolderInMemory&)>& change,
                         const std::string& text) { expect_refused(gptq_folder(), change, text); };
  expect([](FolderInMemory& f) { f.quantisation["bits"] = 3; },
         "quantization_config: bits: expected 4 or 8, found 3");
  expect([](FolderInMemory& f) { f.quantisation.erase("bits"); },
         "quantization_config: bits: expected a value, found none");
  expect([](FolderInMemory& f) { f.quantisation["group_size"] = 0; },
         "group_size: expected a size above 0, or -1, found 0");
  expect([](FolderInMemory& f) { f.quantisation["group_size"] = "16"; },
         "group_size: expected an integer, found a string");
  expect([](FolderInMemory& f) { f.quantisation["checkpoint_format"] = "marlin"; },
         "checkpoint_format: expected gptq or gptq_v2, found marlin");
  expect(
      [](FolderInMemory& f) {
        f.quantisation["dynamic"] = {{"(", Json::object()}};
      },
      "dynamic: (: expected a regular expression, found (");
  expect([&](FolderInMemory& f) { f.erase("scales"); },
         at + "scales: expected F32 or F16 or BF16 [4, 16], found none");
  expect([&](FolderInMemory& f) { f.erase("qweight"); },
         at + "qweight: expected an I32 matrix, found none");
  expect([&](FolderInMemory& f) { f.erase("qzeros"); },
         at + "qzeros: expected I32 [4, 2], found none");
  expect([&](FolderInMemory& f) { f["qweight"] = f["qweight"].to(torch::kInt64); },
         at + "qweight: expected an I32 matrix, found I64 [8, 16]");
  expect(
      [&](FolderInMemory& f) {
        f["qweight"] = torch::zeros({8, 12}, torch::kInt32);
      },
      at + "qweight: expected a multiple of 8 columns, whose zeros fill words, found 12");
  expect(
      [&](FolderInMemory& f) {
        f["qweight"] = torch::zeros({0, 16}, torch::kInt32);
      },
      at + "qweight: expected an I32 matrix, found I32 [0, 16]");
  expect([&](FolderInMemory& f) { f["scales"] = f["scales"].to(torch::kFloat64); },
         at + "scales: expected F32 or F16 or BF16 [4, 16], found Double [4, 16]");
  expect(
      [&](FolderInMemory& f) {
        f["qzeros"] = torch::zeros({3, 2}, torch::kInt32);
      },
      at + "qzeros: expected I32 [4, 2], found I32 [3, 2]");
  expect([&](FolderInMemory& f) { f["g_idx"] = torch::zeros({63}, torch::kInt32); },
         at + "g_idx: expected I32 [64], found I32 [63]");
  expect([&](FolderInMemory& f) { f["g_idx"] = torch::full({64}, 4, torch::kInt32); },
         at + "g_idx: expected groups of 0 to 3, found 4 for column 0");
  expect([&](FolderInMemory& f) { f["g_idx"] = torch::full({64}, -2, torch::kInt32); },
         at + "g_idx: expected groups of 0 to 3, found -2 for column 0");
  expect(
      [&](FolderInMemory& f) {
        f["weight"] = torch::zeros({16, 64});
      },
      at + "weight: expected no weight beside the codes of its module, found one");
}

TEST(Awq, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(FolderInMemory&)>& change,
                         const std::string& text) { expect_refused(awq_folder(), change, text); };
  expect([](FolderInMemory& f) { f.quantisation["version"] = "gemv"; },
         "version: expected gemm, found gemv");
  expect([](FolderInMemory& f) { f.quantisation["bits"] = 8; }, "bits: expected 4, found 8");
  expect([](FolderInMemory& f) { f.quantisation["zero_point"] = false; },
         "zero_point: expected true, found false");
  expect([&](FolderInMemory& f) { f.quantisation["group_size"] = 48; },
         at + "qweight: expected a multiple of 48 rows, as group_size says, found 64");
  expect([&](FolderInMemory& f) { f.erase("qzeros"); },
         at + "qzeros: expected I32 [4, 2], found none");
  expect(
      [&](FolderInMemory& f) {
        f["scales"] = torch::zeros({4, 15});
      },
      at + "scales: expected F32 or F16 or BF16 [4, 16], found F32 [4, 15]");
}

TEST(Awq, its_older_names_of_keys_are_read) {
  FolderInMemory folder = awq_folder();
  folder.quantisation = {
      {"quant_method", "awq"}, {"w_bit", 4}, {"q_group_size", 16}, {"version", "GEMM"}};
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), awq_folder().matrix().expand()));
}

TEST(Float8, scales_of_all_or_of_a_row_are_read_in_each_of_their_shapes) {
  for (const int64_t scale_rows : {0, 1}) {
    const QuantisedMatrix matrix = round_to_nearest(
        torch::randn({6, 10}),
        {.type = CodeType::kFloat8, .scale_rows = scale_rows, .scale_type = torch::kFloat32});
    const int64_t rows = matrix.scales.size(0);
    for (const auto& shape : std::vector<std::vector<int64_t>>{{rows}, {rows, 1}, {}}) {
      if (shape.empty() && rows > 1) continue;
      const FolderInMemory folder =
          folder_of({{"quant_method", "fp8"}},
                    {{"weight", matrix.codes}, {"weight_scale", matrix.scales.reshape(shape)}});
      EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand()));
    }
  }
}

TEST(Float8, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(FolderInMemory&)>& change,
                         const std::string& text) { expect_refused(fp8_folder(), change, text); };
  expect([](FolderInMemory& f) { f.quantisation["fmt"] = "e5m2"; },
         "fmt: expected e4m3 or float8_e4m3fn, found e5m2");
  expect([](FolderInMemory& f) { f.quantisation["weight_block_size"] = {8}; },
         "weight_block_size: expected two sizes above 0, found [8]");
  expect(
      [](FolderInMemory& f) {
        f.quantisation["weight_block_size"] = {8, 0};
      },
      "weight_block_size: expected two sizes above 0, found [8,0]");
  expect(
      [&](FolderInMemory& f) {
        f.quantisation["weight_block_size"] = {8, 64};
      },
      at + "weight_scale_inv: expected F32 or F16 or BF16 [3, 1], found BF16 [3, 2]");
  expect([&](FolderInMemory& f) { f.erase("weight_scale_inv"); },
         at + "weight_scale_inv: expected F32 or F16 or BF16 [3, 2], found none");
  expect([&](FolderInMemory& f) { f.erase("weight"); },
         at + "weight: expected an F8_E4M3 matrix, found none");
  expect(
      [&](FolderInMemory& f) {
        f["weight"] = torch::zeros({20, 64});
      },
      at + "weight: expected an F8_E4M3 matrix, found F32 [20, 64]");
  expect([&](FolderInMemory& f) { f["weight_scale"] = torch::zeros({1}); },
         at + "weight_scale: expected scales of one kind, found weight_scale_inv as well");
}

}  // namespace
}  // namespace hypenet
