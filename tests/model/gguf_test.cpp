// Models of GGUF files are those of the folders that they were made of (tests/data/gguf).
#include <gtest/gtest.h>

#include "model/weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

struct Pair {
  const char *folder, *file;
};

class GgufModelOf : public testing::TestWithParam<Pair> {
 protected:
  GgufModelOf()
      : folder_(fs::path(HYPENET_TEST_DATA) / "models" / GetParam().folder),
        file_(fs::path(HYPENET_TEST_DATA) / "gguf" / GetParam().file) {}

  fs::path folder_, file_;
};

TEST_P(GgufModelOf, config_and_tensors_are_the_folders) {
  const Checkpoint folder(folder_), file(file_);
  Json expected = to_json(read_model_config(folder)), found = to_json(read_model_config(file));
  for (const char* key : {"bos_token_id", "eos_token_id"}) expected.erase(key), found.erase(key);
  EXPECT_EQ(first_difference(expected, found), "");
  ASSERT_EQ(file.names(), folder.names());
  for (const std::string& name : folder.names()) {
    EXPECT_TRUE(torch::equal(file.tensor(name).to(torch::kFloat32),
                             folder.tensor(name).to(torch::kFloat32)))
        << name;
  }
}

TEST_P(GgufModelOf, logits_are_the_references_and_the_folders_to_the_bit) {
  const SafetensorsFile io(folder_ / "io.safetensors");
  const Tensor ids = io.tensor("ids").clone();
  CausalLm file = load_model(Checkpoint(file_), torch::kFloat32);
  CausalLm folder = load_model(Checkpoint(folder_), torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const Tensor logits = file(ids);
  EXPECT_LT((logits - io.tensor("logits")).abs().max().item<float>(), 1e-4);
  EXPECT_TRUE(torch::equal(logits, folder(ids)));
}

INSTANTIATE_TEST_SUITE_P(models, GgufModelOf,
                         testing::Values(Pair{"llama3", "llama3-00001-of-00002.gguf"},
                                         Pair{"qwen2", "qwen2.gguf"},
                                         Pair{"qwen3-tied", "qwen3-tied.gguf"}),
                         [](const auto& info) {
                           return std::string(info.param.folder).substr(0, 5);
                         });

TEST(GgufCheckpoint, either_shard_names_the_model) {
  const fs::path data = fs::path(HYPENET_TEST_DATA) / "gguf";
  const Checkpoint first(data / "llama3-00001-of-00002.gguf");
  EXPECT_EQ(Checkpoint(data / "llama3-00002-of-00002.gguf").names(), first.names());
  EXPECT_EQ(first.paths().size(), 2);
}

/// A Qwen3 of one layer.
TEST(GgufCheckpoint, packed_tensors_are_expanded_to_the_type_asked_for) {
  const TemporaryFolder out;
  testing_support::GgufBuilder file;
  file.text("general.architecture", "qwen3").size("qwen3.embedding_length", 32);
  file.size("qwen3.block_count", 1).size("qwen3.feed_forward_length", 32);
  file.size("qwen3.attention.head_count", 2).size("qwen3.attention.key_length", 16);
  file.number("qwen3.attention.layer_norm_rms_epsilon", 1e-6F);
  std::string blocks;
  for (int row = 0; row < 4; ++row) {
    blocks += std::string("\x01\x3C", 2);  // 1 + 2^-10
    for (int i = 0; i < 32; ++i) blocks += static_cast<char>(row * 32 + i - 64);
  }
  file.tensor("token_embd.weight", {4, 32}, 8, blocks).zeros("output_norm.weight", {32});
  for (const char* norm : {"attn_norm", "ffn_norm"}) {
    file.zeros(concat("blk.0.", norm, ".weight"), {32});
  }
  for (const char* norm : {"attn_q_norm", "attn_k_norm"}) {
    file.zeros(concat("blk.0.", norm, ".weight"), {16});
  }
  for (const char* matrix :
       {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
    file.tensor(concat("blk.0.", matrix, ".weight"), {32, 32}, 8, std::string(34 * 32, '\0'));
  }
  write_file(out / "m.gguf", file.build());
  const std::string name = "model.embed_tokens.weight";
  Checkpoint checkpoint(out / "m.gguf");
  const Tensor expected = torch::arange(-64, 64, torch::kFloat32).reshape({4, 32}) * (1 + 0x1p-10F);
  EXPECT_TRUE(torch::equal(checkpoint.tensor(name), expected));
  EXPECT_EQ(checkpoint.facts(name).stored, "Q8_0");
  EXPECT_EQ(checkpoint.packed(name).sizes(), (std::vector<int64_t>{4, 34}));
  EXPECT_EQ(stored_type(checkpoint), torch::kBFloat16);
  EXPECT_ERROR(checkpoint.tensor(name, std::vector<int64_t>{4, 33}),
               "tensor model.embed_tokens.weight: expected shape [4, 33], found [4, 32]");
  checkpoint.expand_as(torch::kBFloat16);
  EXPECT_TRUE(torch::equal(checkpoint.tensor(name), expected.to(torch::kBFloat16)));
  check_tensors(checkpoint, read_model_config(checkpoint));
}

}  // namespace
}  // namespace hypenet
