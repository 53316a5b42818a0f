// Every layout's rules, and what breaks them: each wrong field is one sentence.
#include "lowbit/quantised_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "lowbit/compressed_tensors.h"
#include "lowbit/rounding.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantised_layouts.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing_support::as_awq;
using testing_support::as_float8_blocks;
using testing_support::as_gptq;

const std::string kModule = "model.layers.1.mlp.up_proj";
const std::string kName = kModule + ".weight";

/// A folder in memory: what a test changes before it is read.
struct Folder {
  Json quantisation = {};
  std::map<std::string, Tensor> tensors = {};

  Tensor& operator[](const std::string& ending) { return tensors[kModule + "." + ending]; }
  void erase(const std::string& ending) { tensors.erase(kModule + "." + ending); }

  QuantisedFolder open() const {
    QuantisedFolder::Types types;
    for (const auto& [name, tensor] : tensors) types[name] = tensor.scalar_type();
    const Json config =
        quantisation.is_null() ? Json::object() : Json{{"quantization_config", quantisation}};
    return {config, "out/config.json", "out", types};
  }
  QuantisedMatrix matrix() const {
    return open().matrix(kName, [&](const std::string& name) { return tensors.at(name); });
  }
};

Folder folder_of(Json quantisation, const ModuleTensors& module) {
  Folder folder{.quantisation = std::move(quantisation)};
  for (const auto& [ending, tensor] : module) folder[ending] = tensor;
  return folder;
}

QuantisedMatrix rounded(CodeType type, bool has_zeros = false, int64_t group = 16) {
  torch::manual_seed(7);
  return round_to_nearest(
      torch::randn({16, 64}),
      {.type = type, .group = group, .has_zeros = has_zeros, .scale_type = torch::kFloat16});
}

Json gptq_keys() { return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 16}}; }
Json awq_keys() { return {{"quant_method", "awq"}, {"bits", 4}, {"group_size", 16}}; }
Json fp8_keys() { return {{"quant_method", "fp8"}, {"weight_block_size", {8, 32}}}; }

Folder gptq_folder() { return folder_of(gptq_keys(), as_gptq(rounded(CodeType::kInt4, true), 1)); }
Folder awq_folder() { return folder_of(awq_keys(), as_awq(rounded(CodeType::kInt4, true))); }
Folder fp8_folder() {
  const QuantisedMatrix matrix = round_to_nearest(
      torch::randn({20, 64}), {.type = CodeType::kFloat8, .group = 32, .scale_rows = 8});
  return folder_of(fp8_keys(), as_float8_blocks(matrix));
}
Folder pack_folder(bool has_zeros = true) {
  const QuantisedMatrix matrix = rounded(CodeType::kInt4, has_zeros);
  return folder_of(compressed_config(compressed_scheme(matrix), {}), pack_compressed(matrix));
}
Folder int_folder() {
  const QuantisedMatrix matrix = rounded(CodeType::kInt8, false, 0);
  return folder_of(compressed_config(compressed_scheme(matrix), {}), pack_compressed(matrix));
}

/// The weights of the only group of a compressed-tensors config.
Json& weights_of(Folder& folder) {
  return folder.quantisation["config_groups"]["group_0"]["weights"];
}

void expect_refused(Folder folder, const std::function<void(Folder&)>& change,
                    const std::string& text) {
  change(folder);
  EXPECT_ERROR(folder.matrix(), text);
}

TEST(QuantisedFolder, every_layout_gives_the_matrix_that_it_was_made_of) {
  const QuantisedMatrix zeros = rounded(CodeType::kInt4, true);
  EXPECT_TRUE(torch::equal(gptq_folder().matrix().expand(), zeros.expand()));
  EXPECT_TRUE(torch::equal(awq_folder().matrix().expand(), zeros.expand()));
  EXPECT_TRUE(torch::equal(pack_folder().matrix().expand(), zeros.expand()));
  Folder second = folder_of(gptq_keys(), as_gptq(zeros, 2));
  second.quantisation["checkpoint_format"] = "gptq_v2";
  EXPECT_TRUE(torch::equal(second.matrix().expand(), zeros.expand()));
  const QuantisedMatrix wide = rounded(CodeType::kInt8);
  Folder bytes = folder_of(gptq_keys(), as_gptq(wide, 1));
  bytes.quantisation["bits"] = 8;
  EXPECT_TRUE(torch::equal(bytes.matrix().expand(), wide.expand()));
}

TEST(QuantisedFolder, names_are_those_of_the_plain_folder) {
  Folder folder = gptq_folder();
  folder.tensors["model.norm.weight"] = torch::ones({4});
  folder["bias"] = torch::ones({16});
  const QuantisedFolder opened = folder.open();
  EXPECT_THAT(opened.names(), ElementsAre(kModule + ".bias", "model.norm.weight", kName));
  EXPECT_TRUE(opened.is_quantised(kName));
  EXPECT_FALSE(opened.is_quantised("model.norm.weight"));
  EXPECT_THAT(opened.stored_names(kName), ElementsAre(kModule + ".g_idx", kModule + ".qweight",
                                                      kModule + ".qzeros", kModule + ".scales"));
  EXPECT_EQ(opened.method(), "gptq");
  EXPECT_EQ(opened.left_aside(), "");
}

TEST(QuantisedFolder, without_a_config_nothing_is_quantised) {
  Folder folder;
  folder["weight"] = torch::ones({2, 2});
  EXPECT_FALSE(folder.open().has_quantised());
  EXPECT_EQ(folder.open().method(), "");
  folder["weight"] = torch::ones({2, 2}, torch::kInt8);
  EXPECT_ERROR(folder.open(), "out: tensor " + kName +
                                  ": expected a quantization_config in config.json for a weight "
                                  "of 8 bits, found none");
  folder["weight"] = torch::ones({2, 2}).to(torch::kFloat8_e4m3fn);
  EXPECT_ERROR(folder.open(), "expected a quantization_config in config.json");
}

TEST(QuantisedFolder, scales_of_activations_and_caches_are_told_and_left_aside) {
  Folder folder = fp8_folder();
  folder["input_scale"] = torch::ones({});
  for (const char* name : {"k_scale", "v_scale", "k_proj.output_scale"}) {
    folder.tensors[std::string("model.layers.1.self_attn.") + name] = torch::ones({});
  }
  EXPECT_THAT(folder.open().names(), ElementsAre(kName));
  EXPECT_EQ(folder.open().left_aside(),
            "out: left aside, as neither is rounded here: 1 scale of activations, 3 scales of keys "
            "and values");
}

TEST(QuantisedFolder, forms_are_told_without_a_look_at_codes) {
  const auto form = [](const Folder& folder) {
    return describe_form(folder.open().form(
        kName, [&](const std::string& name) { return folder.tensors.at(name); }));
  };
  EXPECT_EQ(form(gptq_folder()), "int4 in groups of 16 columns");
  EXPECT_EQ(form(fp8_folder()), "float8 in blocks of 8 x 32");
  EXPECT_EQ(form(int_folder()), "int8 with a scale a row");
}

TEST(QuantisedFolder, methods_that_are_not_read_are_named) {
  const auto expect = [](const Json& quantisation, const std::string& text) {
    EXPECT_ERROR(Folder{.quantisation = quantisation}.open(), text);
  };
  const std::string place = "out/config.json: quantization_config: ";
  expect({{"quant_method", "bitsandbytes"}},
         place + "quant_method: expected fp8, gptq, awq or compressed-tensors, found bitsandbytes");
  expect(Json::object(),
         place + "quant_method: expected fp8, gptq, awq or compressed-tensors, found none");
  expect(7, "out/config.json: quantization_config: expected an object, found an integer");
  expect({{"quant_method", 4}}, place + "quant_method: expected a string, found an integer");
}

TEST(Gptq, rules_for_modules_by_name_come_in_order) {
  const QuantisedMatrix wide = rounded(CodeType::kInt8, false, 0);
  Folder folder = folder_of(gptq_keys(), as_gptq(wide, 1));
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
  Folder folder = gptq_folder();
  folder["qzeros"].fill_(-1);
  EXPECT_TRUE((folder.matrix().zeros == 8).all().item<bool>());
  folder.quantisation["checkpoint_format"] = "gptq_v2";
  EXPECT_TRUE((folder.matrix().zeros == 7).all().item<bool>());
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
  const Folder folder = folder_of(gptq_keys(), as_gptq(matrix, 1));
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand()));
}

TEST(Gptq, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(Folder&)>& change, const std::string& text) {
    expect_refused(gptq_folder(), change, text);
  };
  expect([](Folder& f) { f.quantisation["bits"] = 3; },
         "quantization_config: bits: expected 4 or 8, found 3");
  expect([](Folder& f) { f.quantisation.erase("bits"); },
         "quantization_config: bits: expected a value, found none");
  expect([](Folder& f) { f.quantisation["group_size"] = 0; },
         "group_size: expected a size above 0, or -1, found 0");
  expect([](Folder& f) { f.quantisation["group_size"] = "16"; },
         "group_size: expected an integer, found a string");
  expect([](Folder& f) { f.quantisation["checkpoint_format"] = "marlin"; },
         "checkpoint_format: expected gptq or gptq_v2, found marlin");
  expect(
      [](Folder& f) {
        f.quantisation["dynamic"] = {{"(", Json::object()}};
      },
      "dynamic: (: expected a regular expression, found (");
  expect([&](Folder& f) { f.erase("scales"); },
         at + "scales: expected F32 or F16 or BF16 [4, 16], found none");
  expect([&](Folder& f) { f.erase("qweight"); },
         at + "qweight: expected an I32 matrix, found none");
  expect([&](Folder& f) { f.erase("qzeros"); }, at + "qzeros: expected I32 [4, 2], found none");
  expect([&](Folder& f) { f["qweight"] = f["qweight"].to(torch::kInt64); },
         at + "qweight: expected an I32 matrix, found I64 [8, 16]");
  expect(
      [&](Folder& f) {
        f["qweight"] = torch::zeros({8, 12}, torch::kInt32);
      },
      at + "qweight: expected a multiple of 8 columns, whose zeros fill words, found 12");
  expect(
      [&](Folder& f) {
        f["qweight"] = torch::zeros({0, 16}, torch::kInt32);
      },
      at + "qweight: expected an I32 matrix, found I32 [0, 16]");
  expect([&](Folder& f) { f["scales"] = f["scales"].to(torch::kFloat64); },
         at + "scales: expected F32 or F16 or BF16 [4, 16], found Double [4, 16]");
  expect(
      [&](Folder& f) {
        f["qzeros"] = torch::zeros({3, 2}, torch::kInt32);
      },
      at + "qzeros: expected I32 [4, 2], found I32 [3, 2]");
  expect([&](Folder& f) { f["g_idx"] = torch::zeros({63}, torch::kInt32); },
         at + "g_idx: expected I32 [64], found I32 [63]");
  expect([&](Folder& f) { f["g_idx"] = torch::full({64}, 4, torch::kInt32); },
         at + "g_idx: expected groups of 0 to 3, found 4 for column 0");
  expect([&](Folder& f) { f["g_idx"] = torch::full({64}, -2, torch::kInt32); },
         at + "g_idx: expected groups of 0 to 3, found -2 for column 0");
  expect(
      [&](Folder& f) {
        f["weight"] = torch::zeros({16, 64});
      },
      at + "weight: expected no weight beside the codes of its module, found one");
}

TEST(Awq, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(Folder&)>& change, const std::string& text) {
    expect_refused(awq_folder(), change, text);
  };
  expect([](Folder& f) { f.quantisation["version"] = "gemv"; },
         "version: expected gemm, found gemv");
  expect([](Folder& f) { f.quantisation["bits"] = 8; }, "bits: expected 4, found 8");
  expect([](Folder& f) { f.quantisation["zero_point"] = false; },
         "zero_point: expected true, found false");
  expect([&](Folder& f) { f.quantisation["group_size"] = 48; },
         at + "qweight: expected a multiple of 48 rows, as group_size says, found 64");
  expect([&](Folder& f) { f.erase("qzeros"); }, at + "qzeros: expected I32 [4, 2], found none");
  expect(
      [&](Folder& f) {
        f["scales"] = torch::zeros({4, 15});
      },
      at + "scales: expected F32 or F16 or BF16 [4, 16], found F32 [4, 15]");
}

TEST(Awq, its_older_names_of_keys_are_read) {
  Folder folder = awq_folder();
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
      const Folder folder =
          folder_of({{"quant_method", "fp8"}},
                    {{"weight", matrix.codes}, {"weight_scale", matrix.scales.reshape(shape)}});
      EXPECT_TRUE(torch::equal(folder.matrix().expand(), matrix.expand()));
    }
  }
}

TEST(Float8, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule + ".";
  const auto expect = [](const std::function<void(Folder&)>& change, const std::string& text) {
    expect_refused(fp8_folder(), change, text);
  };
  expect([](Folder& f) { f.quantisation["fmt"] = "e5m2"; },
         "fmt: expected e4m3 or float8_e4m3fn, found e5m2");
  expect([](Folder& f) { f.quantisation["weight_block_size"] = {8}; },
         "weight_block_size: expected two sizes above 0, found [8]");
  expect(
      [](Folder& f) {
        f.quantisation["weight_block_size"] = {8, 0};
      },
      "weight_block_size: expected two sizes above 0, found [8,0]");
  expect(
      [&](Folder& f) {
        f.quantisation["weight_block_size"] = {8, 64};
      },
      at + "weight_scale_inv: expected F32 or F16 or BF16 [3, 1], found BF16 [3, 2]");
  expect([&](Folder& f) { f.erase("weight_scale_inv"); },
         at + "weight_scale_inv: expected F32 or F16 or BF16 [3, 2], found none");
  expect([&](Folder& f) { f.erase("weight"); },
         at + "weight: expected an F8_E4M3 matrix, found none");
  expect(
      [&](Folder& f) {
        f["weight"] = torch::zeros({20, 64});
      },
      at + "weight: expected an F8_E4M3 matrix, found F32 [20, 64]");
  expect([&](Folder& f) { f["weight_scale"] = torch::zeros({1}); },
         at + "weight_scale: expected scales of one kind, found weight_scale_inv as well");
}

TEST(CompressedFolder, groups_are_chosen_by_name_then_expression_then_class) {
  const QuantisedMatrix matrix = rounded(CodeType::kInt4);
  Folder folder = pack_folder(false);
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
  Folder folder = pack_folder();
  folder.quantisation["format"] = "mixed-precision";
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), pack_folder().matrix().expand()));
}

TEST(CompressedFolder, zeros_of_older_folders_are_not_packed) {
  Folder folder = pack_folder();
  folder["weight_zero_point"] = rounded(CodeType::kInt4, true).zeros.to(torch::kInt8);
  EXPECT_TRUE(torch::equal(folder.matrix().expand(), pack_folder().matrix().expand()));
}

TEST(CompressedFolder, wrong_fields_are_one_sentence) {
  const std::string at = "out: tensor " + kModule;
  const auto expect = [](const std::function<void(Folder&)>& change, const std::string& text) {
    expect_refused(pack_folder(), change, text);
  };
  expect(
      [](Folder& f) {
        f.quantisation["config_groups"]["group_0"]["format"] = "nvfp4-pack-quantized";
      },
      "group_0: format: expected pack-quantized, int-quantized, float-quantized or "
      "naive-quantized, found nvfp4-pack-quantized");
  expect(
      [](Folder& f) {
        f.quantisation["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
      },
      "sparsity_config: format: expected dense, found sparse-24-bitmask");
  expect(
      [](Folder& f) {
        f.quantisation["transform_config"] = {{"config_groups", {{"u", 1}}}};
      },
      "transform_config: expected none, found transforms of weights and activations");
  expect([](Folder& f) { f.quantisation["ignore"] = {"re:.*up_proj"}; },
         "expected a plain weight, as quantization_config's ignore has \"re:.*up_proj\", found "
         "codes or scales");
  expect([](Folder& f) { f.quantisation.erase("config_groups"); },
         "config_groups: expected a value, found none");
  expect([](Folder& f) { weights_of(f)["num_bits"] = 2; }, "num_bits: expected 4 or 8, found 2");
  expect([](Folder& f) { weights_of(f)["type"] = "float"; },
         "type: expected int, as the format is pack-quantized, found float");
  expect([](Folder& f) { weights_of(f)["dynamic"] = true; }, "dynamic: expected false, found true");
  expect([](Folder& f) { weights_of(f)["strategy"] = "tensor_group"; },
         "strategy: expected tensor, channel, group or block, found tensor_group");
  expect([](Folder& f) { weights_of(f)["group_size"] = 48; },
         "expected a multiple of 48 columns, as config.json's group_size says, found 64");
  expect([&](Folder& f) { f.erase("weight_shape"); },
         at + ".weight_shape: expected I64 or I32 [2], found none");
  expect(
      [&](Folder& f) {
        f["weight_shape"] = torch::tensor({16, 56}, torch::kInt64);
      },
      at + ".weight_shape: expected [16, 64] or up to a word's columns less, as weight_packed "
           "has them, found [16, 56]");
  expect(
      [&](Folder& f) {
        f["weight_shape"] = torch::tensor({int64_t{1} << 60, int64_t{1} << 60}, torch::kInt64);
      },
      at + ".weight_shape: expected [16, 64]");
  expect([&](Folder& f) { f.erase("weight_scale"); },
         at + ".weight_scale: expected F32 or F16 or BF16 [16, 4], found none");
  expect([&](Folder& f) { f.erase("weight_zero_point"); },
         at + ".weight_zero_point: expected it, as config.json's symmetric is false, found none");
  expect(
      [&](Folder& f) {
        f["weight_zero_point"] = torch::zeros({1, 4}, torch::kInt32);
      },
      at + ".weight_zero_point: expected I32 [2, 4], found I32 [1, 4]");
  expect([&](Folder& f) { f["weight_g_idx"] = torch::full({64}, 7, torch::kInt32); },
         at + ".weight_g_idx: expected groups of 0 to 3, found 7 for column 0");
  expect_refused(
      int_folder(),
      [](Folder& f) {
        f["weight"] = torch::zeros({16, 64});
      },
      at + ".weight: expected an I8 matrix, found F32 [16, 64]");
  expect_refused(
      int_folder(), [](Folder& f) { weights_of(f)["strategy"] = "block"; },
      "block_structure: expected a value, found none");
}

}  // namespace
}  // namespace hypenet
