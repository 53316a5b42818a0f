// Models of quantised folders are those of the plain folders that their numbers make.
#include <gtest/gtest.h>

#include "lowbit/compressed_tensors.h"
#include "lowbit/rounding.h"
#include "model/weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantised_layouts.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

const fs::path kData = HYPENET_TEST_DATA;

/// tests/data/models' Llama with its linear layers in a layout, and as what they stand for.
struct Folders {
  fs::path quantised, plain;
};

using Pack = ModuleTensors (*)(const QuantisedMatrix& matrix);

Folders write_folders(const TemporaryFolder& out, const Json& keys, const RoundingForm& form,
                      Pack pack) {
  const Checkpoint source(kData / "models" / "llama3");
  NamedTensors quantised, plain;
  for (const std::string& name : source.names()) {
    const Tensor tensor = source.tensor(name);
    if (!name.ends_with("_proj.weight")) {
      quantised.emplace_back(name, tensor);
      plain.emplace_back(name, tensor);
      continue;
    }
    const QuantisedMatrix matrix = round_to_nearest(tensor, form);
    plain.emplace_back(name, matrix.expand());
    for (const auto& [ending, part] : pack(matrix)) {
      quantised.emplace_back(name.substr(0, name.size() - 6) + ending, part);
    }
  }
  Json config = source.config();
  write_checkpoint(out / "plain", {.config = config, .tensors = plain});
  config["quantization_config"] = keys;
  // Several shards, parts of one matrix in different ones.
  write_checkpoint(out / "quantised",
                   {.config = config, .tensors = quantised, .shard_bytes = 9000});
  return {out / "quantised", out / "plain"};
}

Tensor logits_of(const fs::path& folder, torch::ScalarType type) {
  const SafetensorsFile io(kData / "models" / "llama3" / "io.safetensors");
  CausalLm model = load_model(Checkpoint(folder), type);
  const torch::NoGradGuard no_grad;
  return model(io.tensor("ids").clone());
}

void expect_the_same(const Json& keys, const RoundingForm& form, Pack pack) {
  const TemporaryFolder out;
  const Folders folders = write_folders(out, keys, form, pack);
  const Checkpoint quantised(folders.quantised), plain(folders.plain);
  EXPECT_EQ(quantised.names(), plain.names());
  check_tensors(quantised, read_model_config(quantised));
  EXPECT_EQ(to_json(read_model_config(quantised)), to_json(read_model_config(plain)));
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    EXPECT_TRUE(torch::equal(logits_of(folders.quantised, type), logits_of(folders.plain, type)))
        << keys.dump() << type;
  }
}

constexpr torch::ScalarType kHalf = torch::kFloat16;

TEST(QuantisedModel, gptq_has_the_logits_of_its_numbers) {
  const RoundingForm form{
      .type = CodeType::kInt4, .group = 16, .has_zeros = true, .scale_type = kHalf};
  expect_the_same({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 16}}, form,
                  [](const QuantisedMatrix& m) { return testing_support::as_gptq(m, 1); });
  const RoundingForm bytes{.type = CodeType::kInt8, .scale_type = kHalf};
  expect_the_same(
      {{"quant_method", "gptq"}, {"bits", 8}, {"group_size", -1}, {"checkpoint_format", "gptq_v2"}},
      bytes, [](const QuantisedMatrix& m) { return testing_support::as_gptq(m, 2); });
}

TEST(QuantisedModel, awq_has_the_logits_of_its_numbers) {
  const RoundingForm form{
      .type = CodeType::kInt4, .group = 16, .has_zeros = true, .scale_type = kHalf};
  expect_the_same({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 16}}, form,
                  testing_support::as_awq);
}

TEST(QuantisedModel, fp8_has_the_logits_of_its_numbers) {
  const RoundingForm form{
      .type = CodeType::kFloat8, .group = 32, .scale_rows = 24, .scale_type = torch::kFloat32};
  expect_the_same({{"quant_method", "fp8"}, {"weight_block_size", {24, 32}}}, form,
                  testing_support::as_float8_blocks);
}

TEST(QuantisedModel, compressed_tensors_have_the_logits_of_their_numbers) {
  const std::vector<RoundingForm> forms = {
      {.type = CodeType::kInt4, .group = 16, .has_zeros = true},
      {.type = CodeType::kInt8},
      {.type = CodeType::kFloat8}};
  for (const RoundingForm& form : forms) {
    const CompressedScheme scheme =
        compressed_scheme(round_to_nearest(torch::ones({64, 64}), form));
    expect_the_same(compressed_config(scheme, {"lm_head"}), form, pack_compressed);
  }
}

TEST(QuantisedModel, logits_are_those_of_transformers) {
  for (const char* name : {"llama3-pack", "qwen2-int", "qwen3-float"}) {
    SCOPED_TRACE(name);
    const fs::path folder = kData / "quantised-models" / name;
    const SafetensorsFile io(folder / "io.safetensors");
    // Weights are rounded to their scales' type there.
    Checkpoint checkpoint = open_rounded(folder);
    CausalLm model = load_model(checkpoint, torch::kFloat32);
    const torch::NoGradGuard no_grad;
    const Tensor logits = model(io.tensor("ids").clone());
    EXPECT_LT((logits - io.tensor("logits")).abs().max().item<float>(), 1e-4);
  }
}

TEST(QuantisedModel, its_type_is_bfloat16_and_of_a_teacher_every_tensors) {
  const fs::path folder = kData / "quantised-models" / "llama3-pack";
  EXPECT_EQ(stored_type(Checkpoint(folder)), torch::kBFloat16);
  const Checkpoint teacher = open_rounded(folder);
  for (const std::string& name : teacher.names()) {
    EXPECT_EQ(teacher.tensor(name).scalar_type(), torch::kBFloat16) << name;
  }
}

TEST(QuantisedModel, what_is_left_aside_is_told) {
  const TemporaryFolder out;
  const Checkpoint source(kData / "models" / "llama3");
  Json config = source.config();
  config["quantization_config"] = {{"quant_method", "fp8"}};
  NamedTensors tensors;
  for (const std::string& name : source.names()) tensors.emplace_back(name, source.tensor(name));
  tensors.emplace_back("model.layers.0.self_attn.k_scale", torch::ones({}));
  write_checkpoint(out / "model", {.config = config, .tensors = tensors});
  std::string told;
  const Checkpoint checkpoint(out / "model");
  read_model_config(checkpoint, [&](const std::string& text) { told += text; });
  EXPECT_EQ(told, (out / "model").string() +
                      ": left aside, as neither is rounded here: 1 scale of keys and values");
  check_tensors(checkpoint, read_model_config(checkpoint));
}

TEST(QuantisedModel, a_matrix_of_another_shape_is_named_before_it_is_read) {
  const TemporaryFolder out;
  const QuantisedMatrix matrix =
      round_to_nearest(torch::randn({8, 32}), {.type = CodeType::kInt4, .group = 16});
  const Checkpoint source(kData / "models" / "llama3");
  const std::string module = "model.layers.0.mlp.up_proj";
  Json config = source.config();
  config["quantization_config"] = compressed_config(compressed_scheme(matrix), {});
  NamedTensors tensors;
  for (const std::string& name : source.names()) {
    if (name != module + ".weight") tensors.emplace_back(name, source.tensor(name));
  }
  for (const auto& [ending, part] : pack_compressed(matrix)) {
    tensors.emplace_back(module + "." + ending, part);
  }
  write_checkpoint(out / "model", {.config = config, .tensors = tensors});
  const Checkpoint checkpoint(out / "model");
  EXPECT_ERROR(check_tensors(checkpoint, read_model_config(checkpoint)),
               "tensor " + module + ".weight: expected shape [48, 64], found [8, 32]");
}

}  // namespace
}  // namespace hypenet
