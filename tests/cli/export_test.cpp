// Models written as GGUF files, and back as folders, are the same models; what has no place in a
// file is refused in one line.
#include <gtest/gtest.h>

#include "gguf/model_keys.h"
#include "model/weights.h"
#include "store/gguf_export.h"
#include "tests/support/expect_error.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::expect_error_line;
using testing_support::run_program;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

const fs::path kTeacher = fs::path(HYPENET_SOURCE) / "models" / "tiny-teacher";

/// config.json but for the type, which is the weights'.
Json keys_of(const ModelConfig& config) {
  Json json = to_json(config);
  json.erase("torch_dtype");
  return json;
}

class Exported : public testing::Test {
 protected:
  /// A folder with random weights; norms are random as well, which are ones when made.
  fs::path put(ModelConfig config) const {
    torch::manual_seed(11);
    config.torch_dtype = "float32";
    CausalLm model(config);
    for (auto& parameter : model->named_parameters()) {
      if (parameter.value().dim() == 1) parameter.value().data().uniform_(0.5, 1.5);
    }
    const fs::path path = folder_ / "folder";
    write_checkpoint(path, {.config = to_json(config),
                            .tensors = named_weights(*model, torch::kFloat32),
                            .run = {},
                            .companions_from = {}});
    return path;
  }

  /// The GGUF file of a folder, without a tokenizer.
  fs::path to_gguf(const fs::path& folder, BlockType type) const {
    const Checkpoint checkpoint(folder);
    const Json config = to_json(read_model_config(checkpoint));
    const GgufHead head = gguf_head(config);
    GgufKeyList keys;
    add_model_keys(config, head, keys);
    write_gguf(folder_ / "m.gguf", checkpoint, head, keys, type, [](int64_t, int64_t) {});
    return folder_ / "m.gguf";
  }

  /// Every tensor and every key that a forward reads is the folder's.
  void expect_same(const ModelConfig& config) const {
    const Checkpoint before(put(config)), after(to_gguf(before.folder(), BlockType::kF32));
    EXPECT_EQ(keys_of(read_model_config(after)).dump(1), keys_of(config).dump(1));
    EXPECT_NO_THROW(check_tensors(after, read_model_config(after)));
    const Tensor ids = torch::arange(40).remainder(config.vocab_size).unsqueeze(0);
    EXPECT_TRUE(torch::equal(load_model(before)->forward(ids), load_model(after)->forward(ids)));
  }

  TemporaryFolder folder_;
};

TEST_F(Exported, transformers_give_the_same_logits) {
  ModelConfig qwen3 = tiny_teacher_config();
  expect_same(qwen3);
  ModelConfig qwen2 = tiny_teacher_config();
  qwen2.architecture = Architecture::kQwen2;
  qwen2.has_qk_norm = false, qwen2.attention_bias = true, qwen2.tie_word_embeddings = false;
  expect_same(qwen2);
  ModelConfig llama = tiny_teacher_config();
  llama.architecture = Architecture::kLlama;
  llama.has_qk_norm = false, llama.rope_theta = 500000;
  expect_same(llama);
  llama.rope_scaling = Llama3RopeScaling{.factor = 32};
  expect_same(llama);
  for (ModelConfig* config : {&qwen3, &qwen2, &llama}) {  // linear, as model/config.h reads it
    config->rope_scaling = Llama3RopeScaling{.factor = 4, .original_max_position_embeddings = 1};
    expect_same(*config);
  }
}

TEST_F(Exported, hypenets_give_the_same_logits) {
  ModelConfig hypenet = tiny_hypenet_config();
  hypenet.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 500};
  expect_same(hypenet);
  hypenet.attn_logits_scaling = {LogitsScaling::Kind::kConstant, 1.234567890123};
  hypenet.attention_bias = hypenet.attention_output_bias = true;
  hypenet.mixers.of<LightningConfig>() = {.nh = 6, .nkv = 3, .head_dim = 8, .scale = "1/d"};
  hypenet.mixers.of<LightningConfig>().use_qk_norm = false;
  expect_same(hypenet);
  hypenet.mixers.of<LightningConfig>() = {.nh = 4, .nkv = 4, .head_dim = 16, .scale = "1"};
  hypenet.mixers.of<LightningConfig>().use_output_gate = false;
  hypenet.mixers.of<LightningConfig>().use_output_norm = false;
  hypenet.attn_use_rope = true, hypenet.attn_use_output_gate = false, hypenet.has_qk_norm = false;
  hypenet.rope_scaling = Llama3RopeScaling{.factor = 4, .original_max_position_embeddings = 64};
  expect_same(hypenet);
  hypenet.mixers.of<LightningConfig>().use_rope = false;
  hypenet.tie_word_embeddings = false;
  expect_same(hypenet);
}

TEST_F(Exported, a_hypenet_without_recurrent_layers_is_one_too) {
  ModelConfig hypenet = tiny_hypenet_config();
  hypenet.mixer_types.assign(3, &kAttentionMixer);
  hypenet.mixers = {};
  expect_same(hypenet);
}

TEST_F(Exported, types_round_matrices_alone) {
  ModelConfig config = tiny_teacher_config();
  config.architecture = Architecture::kLlama, config.has_qk_norm = false;
  config.intermediate_size = 40;  // rows of ffn_down are no whole blocks
  const fs::path folder = put(config);
  const Checkpoint before(folder);
  for (const auto& [type, share] : {std::pair{BlockType::kF16, 0x1p-11},
                                    {BlockType::kBF16, 0x1p-8},
                                    {BlockType::kQ80, 1.0 / 127},
                                    {BlockType::kQ40, 1.0 / 7}}) {
    const Checkpoint after(to_gguf(folder, type));
    for (const std::string& name : before.names()) {
      const Tensor expected = before.tensor(name);
      const Tensor found = after.tensor(name).to(torch::kFloat32);
      const double off = (found - expected).abs().max().item<double>();
      const double most = expected.abs().max().item<double>();
      EXPECT_LE(off, expected.dim() == 1 ? 0 : share * most) << name;
    }
    const auto stored = [&](const char* name) { return after.facts(name).stored; };
    const bool is_plain = block_layout(type).is_plain;
    EXPECT_EQ(stored("model.layers.0.self_attn.q_proj.weight"),
              is_plain ? "" : block_layout(type).name);
    EXPECT_EQ(stored("model.embed_tokens.weight"), is_plain ? "" : "Q8_0");
    EXPECT_EQ(stored("model.layers.0.mlp.down_proj.weight"), "") << "F16";
  }
}

TEST_F(Exported, what_has_no_place_is_refused_by_its_key) {
  const auto expect = [&](const ModelConfig& config, const char* text) {
    const fs::path folder = put(config);
    EXPECT_ERROR(to_gguf(folder, BlockType::kF32), text);
    EXPECT_FALSE(fs::exists(folder_ / "m.gguf"));
  };
  ModelConfig llama = tiny_teacher_config();
  llama.architecture = Architecture::kLlama, llama.has_qk_norm = false;
  llama.attention_bias = llama.attention_output_bias = true;
  expect(llama, "config.json: attention_bias: expected false (a GGUF file of a llama has no");
  llama.attention_bias = llama.attention_output_bias = false;
  llama.rope_scaling = Llama3RopeScaling{.low_freq_factor = 2};
  expect(llama, "config.json: rope_scaling: low_freq_factor: expected 1 (a GGUF file has no place");
  ModelConfig qwen3 = tiny_teacher_config();
  qwen3.rope_scaling = Llama3RopeScaling{};
  expect(qwen3,
         "config.json: rope_scaling: expected null or a linear one (llama.cpp would not read "
         "it of a qwen3");
  ModelConfig other = tiny_hypenet_config();
  other.mixer_types[0] = mixer_kind("gdn", "test");
  EXPECT_ERROR(gguf_head(to_json(other)),
               "config.json: mixer_types: expected attn and lightning-attn (other mixers have no");
}

TEST_F(Exported, numbers_that_a_type_cannot_hold_are_refused) {
  const fs::path folder = put(tiny_teacher_config());
  NamedTensors tensors;
  const Checkpoint good(folder);
  for (const std::string& name : good.names())
    tensors.emplace_back(name, good.tensor(name).clone());
  for (auto& [name, tensor] : tensors) {
    if (name == "model.layers.0.mlp.up_proj.weight") tensor[1][2] = 70000;
  }
  write_checkpoint(folder_ / "large",
                   {.config = good.config(), .tensors = tensors, .run = {}, .companions_from = {}});
  EXPECT_ERROR(to_gguf(folder_ / "large", BlockType::kF16),
               "large: tensor model.layers.0.mlp.up_proj.weight: expected finite numbers of at most"
               " 65504 (F16), found others");
  EXPECT_NO_THROW(to_gguf(folder_ / "large", BlockType::kBF16));
}

/// The program, on the embedded teacher.
class ExportProgram : public testing::Test {
 protected:
  static std::string text_of(const fs::path& model) {
    const auto result = run_program({"generate", model.string(), "--prompt", "It was the best of",
                                     "--tokens", "24", "--dtype", "float32"});
    EXPECT_EQ(result.code, 0) << result.error;
    return result.out;
  }
  static void run(const std::vector<std::string>& arguments) {
    const auto result = run_program(arguments);
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out, "");
  }

  TemporaryFolder folder_;
  std::string gguf_ = (folder_ / "m.gguf").string(), back_ = (folder_ / "back").string();
};

TEST_F(ExportProgram, a_folder_goes_to_gguf_and_back) {
  run({"export", kTeacher.string(), "--gguf", gguf_});
  EXPECT_EQ(text_of(gguf_), text_of(kTeacher));
  run({"export", gguf_, "--folder", back_});
  EXPECT_EQ(text_of(back_), text_of(kTeacher));
  const Checkpoint before(kTeacher), after(back_);
  ASSERT_EQ(after.names(), before.names());
  for (const std::string& name : before.names()) {
    EXPECT_TRUE(torch::equal(after.tensor(name), before.tensor(name))) << name;
  }
  expect_error_line(run_program({"export", gguf_, "--gguf", gguf_}),
                    "--gguf: expected another file than those that are read");
}

TEST_F(ExportProgram, of_a_quantised_folder_the_plain_one_is_written) {
  const fs::path quantised = fs::path(HYPENET_TEST_DATA) / "quantised-models" / "llama3-pack";
  const fs::path plain = folder_ / "plain";
  const auto result =
      run_program({"export", quantised.string(), "--folder", plain.string(), "--type", "bf16"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Checkpoint found(plain), expected = open_rounded(quantised);
  EXPECT_FALSE(found.config().contains("quantization_config"));
  ASSERT_EQ(found.names(), expected.names());
  for (const std::string& name : expected.names()) {
    EXPECT_TRUE(torch::equal(found.tensor(name), expected.tensor(name))) << name;
  }
}

TEST_F(ExportProgram, a_model_does_not_take_its_own_place) {
  run({"export", kTeacher.string(), "--folder", back_});
  const std::string before = read_file(fs::path(back_) / "model.safetensors");
  for (const char* form : {"--folder", "--transformers"}) {
    expect_error_line(run_program({"export", back_, form, back_ + "/."}),
                      concat(form, ": expected another folder than the model's, found ", back_));
  }
  EXPECT_TRUE(read_file(fs::path(back_) / "model.safetensors") == before);
}

TEST_F(ExportProgram, bad_input_is_one_line) {
  const auto refused = [](const std::vector<std::string>& arguments, const char* text) {
    expect_error_line(run_program(arguments), text);
  };
  const std::string teacher = kTeacher.string();
  refused({"export", teacher}, "export: expected --gguf, --folder or --transformers, found none");
  refused({"export", teacher, "--gguf", gguf_, "--type", "q5_k"},
          "--type: expected auto, f32, f16, bf16, q8_0 or q4_0, found \"q5_k\"");
  refused({"export", teacher, "--folder", back_, "--type", "q8_0"},
          "--type: expected f32, f16 or bf16 for a folder");
  refused({"export", teacher, "--gguf", folder_.path().string()},
          "expected a file, found a folder");
  refused({"export", teacher, "--folder", (kTeacher / "..").string()}, "expected");
  refused({"export", teacher, "--folder", back_, "--gguf", folder_.path().string()},
          "expected a file, found a folder");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

}  // namespace
}  // namespace hypenet
