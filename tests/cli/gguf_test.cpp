// The program with a GGUF file in place of the embedded teacher's folder: the same to the byte.
#include <gtest/gtest.h>

#include "store/checkpoint.h"
#include "store/safetensors.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/gguf_of_folder.h"
#include "tests/support/packed_gguf.h"
#include "tests/support/program.h"
#include "tests/support/short_conversion.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::GgufBuilder;
using testing_support::run_program;

const fs::path kTeacher = fs::path(HYPENET_SOURCE) / "models" / "tiny-teacher";

/// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight".
std::string stored_name(std::string name) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"model.layers.", "blk."},
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"input_layernorm", "attn_norm"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"self_attn.o_proj", "attn_output"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.", "attn_"},
      {"mlp.", "ffn_"},
      {"_proj.", "."}};
  for (const auto& [published, stored] : kNames) {
    if (const size_t at = name.find(published); at != name.npos) {
      name.replace(at, std::strlen(published), stored);
    }
  }
  return name;
}

/// The embedded teacher, its matrices BF16.
std::string teacher_as_gguf() {
  const Checkpoint folder(kTeacher);
  GgufBuilder file;
  file.text("general.architecture", "qwen3");
  for (const auto& [key, name] : {std::pair{"hidden_size", "embedding_length"},
                                  {"num_hidden_layers", "block_count"},
                                  {"intermediate_size", "feed_forward_length"},
                                  {"num_attention_heads", "attention.head_count"},
                                  {"num_key_value_heads", "attention.head_count_kv"},
                                  {"head_dim", "attention.key_length"},
                                  {"max_position_embeddings", "context_length"}}) {
    file.size(concat("qwen3.", name), folder.config()[key].get<uint32_t>());
  }
  file.number("qwen3.attention.layer_norm_rms_epsilon", 1e-6F);
  for (const char* name : {"eos", "padding"}) {
    file.size(concat("tokenizer.ggml.", name, "_token_id"), 0);
  }
  testing_support::add_tokenizer(file, kTeacher / "tokenizer.json", "smollm");
  for (const std::string& name : folder.names()) {
    const Tensor tensor = folder.tensor(name).to(torch::kBFloat16).contiguous();
    const std::string bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    constexpr uint32_t kBFloat16 = 30;
    file.tensor(stored_name(name), {tensor.sizes().begin(), tensor.sizes().end()}, kBFloat16,
                bytes);
  }
  return file.build();
}

class GgufProgram : public testing::Test {
 protected:
  GgufProgram() { write_file(file_, teacher_as_gguf()); }

  /// What a command prints of the folder and of the file.
  void expect_equal(std::vector<std::string> before, const std::vector<std::string>& after) const {
    std::vector<std::string> printed;
    for (const std::string& model : {kTeacher.string(), file_.string()}) {
      std::vector<std::string> arguments = before;
      arguments.push_back(model);
      arguments.insert(arguments.end(), after.begin(), after.end());
      const auto result = run_program(arguments);
      EXPECT_EQ(result.code, 0) << result.error;
      EXPECT_FALSE(result.out.empty());
      printed.push_back(result.out);
    }
    EXPECT_EQ(printed[0], printed[1]);
  }

  TemporaryFolder folder_;
  fs::path file_ = folder_ / "teacher.gguf";
};

TEST_F(GgufProgram, answers_and_tokens_are_the_folders) {
  expect_equal({"generate"}, {"--prompt", "It was the best of times,", "--tokens", "24"});
  expect_equal({"generate"}, {"--prompt", "Once", "--tokens", "24", "--dtype", "bfloat16",
                              "--temperature", "1", "--seed", "3"});
  write_file(folder_ / "text.txt", "In 1984 it wasn't 12 o'clock.\n\n  na\u00efve <|endoftext|>");
  expect_equal({"tokenize"}, {"--file", (folder_ / "text.txt").string()});
}

TEST_F(GgufProgram, inspect_tells_files_and_types) {
  const auto result = run_program({"inspect", file_.string(), "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json found = parse_json(result.out, "inspect");
  ASSERT_EQ(found["files"].size(), 1);
  EXPECT_EQ(found["files"][0]["name"], "teacher.gguf");
  EXPECT_EQ(found["files"][0]["tensors"]["BF16"], Checkpoint(kTeacher).names().size());
  EXPECT_EQ(found["tokenizer"]["tokens"], 4096);
}

TEST_F(GgufProgram, blocks_stay_packed_and_say_so) {
  const std::string file = (folder_ / "packed.gguf").string();
  write_file(file, testing_support::packed_llama());
  const auto inspected = run_program({"inspect", file, "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.error;
  const Json packed = parse_json(inspected.out, "inspect")["packed"];
  ASSERT_EQ(packed.size(), 5);
  EXPECT_EQ(packed["Q8_0"]["matrices"], 3);
  EXPECT_EQ(packed["Q8_0"]["bytes"], (48 + 96 + 32) * 64 / 32 * 34);
  const auto logits = [&](const std::vector<std::string>& options) {
    const std::string out = (folder_ / "logits.safetensors").string();
    std::vector<std::string> arguments = {"logits", file, "--ids", "1,2,3", "--out", out};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto result = run_program(arguments);
    EXPECT_EQ(result.code, 0) << result.error;
    return SafetensorsFile(out).tensor("logits").clone();
  };
  const Tensor expected = logits({"--dtype", "float32"});
  EXPECT_TRUE(
      torch::allclose(logits({"--dtype", "auto", "--activations", "float"}), expected, 1e-4, 1e-4));
  const Tensor rounded = logits({"--dtype", "auto"});
  EXPECT_FALSE(torch::allclose(rounded, expected, 1e-4, 1e-4));
  EXPECT_LT((rounded - expected).norm().item<float>(), 0.05 * expected.norm().item<float>());
  const auto bad = run_program({"logits", file, "--ids", "1", "--activations", "int9", "--out",
                                (folder_ / "none.safetensors").string()});
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.error.find("--activations: expected int8 or float, found int9"), std::string::npos);
}

TEST_F(GgufProgram, conversions_of_it_are_those_of_the_folder) {
  testing_support::write_text(folder_ / "text.txt");
  std::vector<std::string> written;
  for (const std::string& teacher : {kTeacher.string(), file_.string()}) {
    const fs::path out = folder_ / concat("out", written.size());
    auto arguments = testing_support::short_conversion(out, (folder_ / "text.txt").string());
    for (const char* more : {"--teacher", teacher.c_str(), "--until", "align"}) {
      arguments.emplace_back(more);
    }
    const auto result = run_program(arguments);
    ASSERT_EQ(result.code, 0) << result.error;
    written.push_back(read_file(out / "2-align" / "model.safetensors"));
    EXPECT_TRUE(fs::exists(out / "2-align" / "tokenizer.json"));
    const auto tokens = run_program(
        {"tokenize", (out / "2-align").string(), "--file", (folder_ / "text.txt").string()});
    EXPECT_EQ(tokens.code, 0) << tokens.error;
    written.back() += tokens.out;
  }
  EXPECT_TRUE(written[0] == written[1]);
}

TEST_F(GgufProgram, a_damaged_file_is_one_line) {
  const std::string whole = read_file(file_);
  write_file(file_, whole.substr(0, whole.size() / 2));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"generate", "--prompt", "a"},
        {"inspect"},
        {"tokenize", "--text", "a"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back(file_.string());
    testing_support::expect_error_line(run_program(arguments), "teacher.gguf: tensor ");
  }
}

}  // namespace
}  // namespace hypenet
