// Which tensors are parts of quantised matrices, and what else a folder may hold.
#include "lowbit/quantised_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lowbit/folder_in_memory.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing_support::as_gptq;
using testing_support::awq_folder;
using testing_support::folder_of;
using testing_support::FolderInMemory;
using testing_support::fp8_folder;
using testing_support::gptq_folder;
using testing_support::gptq_keys;
using testing_support::int_folder;
using testing_support::kModule;
using testing_support::kName;
using testing_support::pack_folder;
using testing_support::rounded;

TEST(QuantisedFolder, every_layout_gives_the_matrix_that_it_was_made_of) {
  const QuantisedMatrix zeros = rounded(CodeType::kInt4, true);
  EXPECT_TRUE(torch::equal(gptq_folder().matrix().expand(), zeros.expand()));
  EXPECT_TRUE(torch::equal(awq_folder().matrix().expand(), zeros.expand()));
  EXPECT_TRUE(torch::equal(pack_folder().matrix().expand(), zeros.expand()));
  FolderInMemory second = folder_of(gptq_keys(), as_gptq(zeros, 2));
  second.quantisation["checkpoint_format"] = "gptq_v2";
  EXPECT_TRUE(torch::equal(second.matrix().expand(), zeros.expand()));
  const QuantisedMatrix wide = rounded(CodeType::kInt8);
  FolderInMemory bytes = folder_of(gptq_keys(), as_gptq(wide, 1));
  bytes.quantisation["bits"] = 8;
  EXPECT_TRUE(torch::equal(bytes.matrix().expand(), wide.expand()));
}

TEST(QuantisedFolder, names_are_those_of_the_plain_folder) {
  FolderInMemory folder = gptq_folder();
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
  FolderInMemory folder;
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
  FolderInMemory folder = fp8_folder();
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
  const auto form = [](const FolderInMemory& folder) {
    return describe_form(folder.open().form(
        kName, [&](const std::string& name) { return folder.tensors.at(name); }));
  };
  EXPECT_EQ(form(gptq_folder()), "int4 in groups of 16 columns");
  EXPECT_EQ(form(fp8_folder()), "float8 in blocks of 8 x 32");
  EXPECT_EQ(form(int_folder()), "int8 with a scale a row");
}

TEST(QuantisedFolder, methods_that_are_not_read_are_named) {
  const auto expect = [](const Json& quantisation, const std::string& text) {
    EXPECT_ERROR(FolderInMemory{.quantisation = quantisation}.open(), text);
  };
  const std::string place = "out/config.json: quantization_config: ";
  expect({{"quant_method", "bitsandbytes"}},
         place + "quant_method: expected fp8, gptq, awq or compressed-tensors, found bitsandbytes");
  expect(Json::object(),
         place + "quant_method: expected fp8, gptq, awq or compressed-tensors, found none");
  expect(7, "out/config.json: quantization_config: expected an object, found an integer");
  expect({{"quant_method", 4}}, place + "quant_method: expected a string, found an integer");
}

}  // namespace
}  // namespace hypenet
