// compressed-tensors' groups and formats, and what breaks them; each wrong field is one sentence.

#include <gtest/gtest.h>

#include "tests/lowbit/folder_in_memory.h"

namespace hypenet {
namespace {

using testing_support::expect_refused;
using testing_support::FolderInMemory;
using testing_support::int_folder;
using testing_support::kModule;
using testing_support::pack_folder;
using testing_support::rounded;
using testing_support::weights_of;

TEST(CompressedFolder, groups_are_chosen_by_name_then_expression_then_class) {
  const QuantisedMatrix matrix = rounded(CodeType::kInt4);
  FolderInMemory folder = pack_folder(false);
  Json& groups = folder.quantisation["config_groups"];
  Json wrong = groups["group_0"];
  wrong["weights"]["group_size"] = 48;
  groups = {{"a", wrong}, {"b", groups["group_0"]}};
  for (const char* target : {"re:.*up_proj", kModule.c_str()}) {
    groups["b"]["targets"] = {target};
    EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand())) << target;
  }
  groups["a"]["targets"] = {"re:.*proj"};
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand()));
  groups["b"]["targets"] = {"LlamaMLP"};
  EXPECT_ERROR(folder.matrix(),
               "expected a multiple of 48 columns, as config.json's group_size "
               "says, found 64");
  groups["a"]["targets"] = Json::array();
  EXPECT_ERROR(folder.matrix(),
               "expected a group of quantization_config's config_groups whose "
               "targets are its module, found none");
}

TEST(CompressedFolder, groups_may_have_formats_of_their_own) {
  FolderInMemory folder = pack_folder();
  folder.quantisation["format"] = "mixed-precision";
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), pack_folder().matrix().expand()));
}

TEST(CompressedFolder, zeros_of_older_folders_are_not_packed) {
  FolderInMemory folder = pack_folder();
  folder["weight_zero_point"] = rounded(CodeType::kInt4, true).zeros.to(torch::kInt8);
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), pack_folder().matrix().expand()));
}

TEST(CompressedFolder, wrong_keys_are_one_sentence) {
  const auto expect = [](const std::function<void(FolderInMemory&)>& change,
                         const std::string& text) { expect_refused(pack_folder(), change, text); };
  expect(
      [](FolderInMemory& f) {
        f.quantisation["config_groups"]["group_0"]["format"] = "nvfp4-pack-quantized";
      },
      "group_0: format: expected pack-quantized, int-quantized, float-quantized or "
      "naive-quantized, found nvfp4-pack-quantized");
  expect(
      [](FolderInMemory& f) {
        f.quantisation["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
      },
      "sparsity_config: format: expected dense, found sparse-24-bitmask");
  expect(
      [](FolderInMemory& f) {
        f.quantisation["transform_config"] = {{"config_groups", {{"u", 1}}}};
      },
      "transform_config: expected none, found transforms of weights and activations");
  expect([](FolderInMemory& f) { f.quantisation["ignore"] = {"re:.*up_proj"}; },
         "expected a plain weight, as quantization_config's ignore has \"re:.*up_proj\", found "
         "codes or scales");
  expect([](FolderInMemory& f) { f.quantisation.erase("config_groups"); },
         "config_groups: expected a value, found none");
  expect([](FolderInMemory& f) { weights_of(f)["num_bits"] = 2; },
         "num_bits: expected 4 or 8, found 2");
  expect([](FolderInMemory& f) { weights_of(f)["type"] = "float"; },
         "type: expected int, as the format is pack-quantized, found float");
  expect([](FolderInMemory& f) { weights_of(f)["dynamic"] = true; },
         "dynamic: expected false, found true");
  expect([](FolderInMemory& f) { weights_of(f)["strategy"] = "tensor_group"; },
         "strategy: expected tensor, channel, group or block, found tensor_group");
  expect([](FolderInMemory& f) { weights_of(f)["group_size"] = 48; },
         "expected a multiple of 48 columns, as config.json's group_size says, found 64");
}

TEST(CompressedFolder, wrong_tensors_are_one_sentence) {
  const std::string at = "out: tensor " + kModule;
  const auto expect = [](const std::function<void(FolderInMemory&)>& change,
                         const std::string& text) { expect_refused(pack_folder(), change, text); };
  expect([&](FolderInMemory& f) { f.erase("weight_shape"); },
         at + ".weight_shape: expected I64 or I32 [2], found none");
  expect(
      [&](FolderInMemory& f) {
        f["weight_shape"] = torch::tensor({16, 56}, torch::kInt64);
      },
      at + ".weight_shape: expected [16, 64] or up to a word's columns less, as weight_packed "
           "has them, found [16, 56]");
  expect(
      [&](FolderInMemory& f) {
        f["weight_shape"] = torch::tensor({int64_t{1} << 60, int64_t{1} << 60}, torch::kInt64);
      },
      at + ".weight_shape: expected [16, 64]");
  expect([&](FolderInMemory& f) { f.erase("weight_scale"); },
         at + ".weight_scale: expected F32 or F16 or BF16 [16, 4], found none");
  expect([&](FolderInMemory& f) { f.erase("weight_zero_point"); },
         at + ".weight_zero_point: expected it, as config.json's symmetric is false, found none");
  expect(
      [&](FolderInMemory& f) {
        f["weight_zero_point"] = torch::zeros({1, 4}, torch::kInt32);
      },
      at + ".weight_zero_point: expected I32 [2, 4], found I32 [1, 4]");
  expect([&](FolderInMemory& f) { f["weight_g_idx"] = torch::full({64}, 7, torch::kInt32); },
         at + ".weight_g_idx: expected groups of 0 to 3, found 7 for column 0");
  expect_refused(
      int_folder(),
      [](FolderInMemory& f) {
        f["weight"] = torch::zeros({16, 64});
      },
      at + ".weight: expected an I8 matrix, found F32 [16, 64]");
  expect_refused(
      int_folder(), [](FolderInMemory& f) { weights_of(f)["strategy"] = "block"; },
      "block_structure: expected a value, found none");
}

}  // namespace
}  // namespace hypenet
