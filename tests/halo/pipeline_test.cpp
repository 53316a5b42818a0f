// Conversion and training from scratch as a whole, on models of two layers: what a recipe says of
// its texts and of frozen parameters is what happens.
#include "halo/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

ModelConfig byte_teacher_config() {
  ModelConfig config = testing_support::tiny_teacher_config();
  config.vocab_size = testing_support::kByteTokens;
  config.torch_dtype = "float32";
  return config;
}

StageConfig short_stage() {
  StageConfig stage;
  stage.steps = 2, stage.sequences = 2, stage.context = 16;
  return stage;
}

/// Names of the tensors that two folders have alike.
std::set<std::string> equal_tensors(const fs::path& a, const fs::path& b) {
  const Checkpoint left(a), right(b);
  std::set<std::string> equal;
  for (const std::string& name : left.names()) {
    if (torch::equal(left.tensor(name), right.tensor(name))) equal.insert(name);
  }
  return equal;
}

size_t tensors(const fs::path& folder) { return Checkpoint(folder).names().size(); }

class NoteObserver : public Observer {
 public:
  void on_step(const StepReport&) override {}
  void on_note(const std::string& text) override { notes_.push_back(text); }
  void on_progress(const std::string&, int64_t, int64_t) override {}

  int64_t count(const std::string& part) const {
    return std::count_if(notes_.begin(), notes_.end(), [&](const std::string& note) {
      return note.find(part) != std::string::npos;
    });
  }

 private:
  std::vector<std::string> notes_;
};

class Pipeline : public testing::Test {
 protected:
  Pipeline() {
    fs::create_directories(folder_ / "teacher");
    testing_support::write_byte_tokenizer(folder_ / "teacher");
    write_text("short.txt", "Sentence ", " of a short text. ");
    write_text("long.txt", "LINE ", ": NOTHING LIKE THE OTHER ONE\n");
  }

  void write_text(const std::string& name, const char* before, const char* behind) const {
    std::string text;
    for (int i = 0; i < 60; ++i) text += concat(before, i, behind);
    write_file(folder_ / name, text);
  }

  DataConfig data() const {
    return {.train = {(folder_ / "short.txt").string()},
            .validation = {(folder_ / "short.txt").string()},
            .long_train = {}};
  }

  /// A conversion of a random teacher, all of it in a few steps.
  HaloRecipe conversion() const {
    torch::manual_seed(1);
    CausalLm teacher(byte_teacher_config());
    if (!fs::exists(folder_ / "teacher/config.json")) {
      write_json(folder_ / "teacher/config.json", to_json(teacher->config()));
      write_safetensors(folder_ / "teacher/model.safetensors",
                        named_weights(*teacher, torch::kFloat32));
    }
    HaloRecipe recipe;
    recipe.name = "test";
    recipe.teacher = (folder_ / "teacher").string();
    recipe.data = data();
    recipe.align = recipe.distill = recipe.finetune = short_stage();
    recipe.select.layers = {0};
    recipe.evaluate.context = 16, recipe.evaluate.windows = 2;
    return recipe;
  }

  void convert_into(const std::string& out, const HaloRecipe& recipe) const {
    convert(recipe, {.out = folder_ / out});
  }

  PretrainRecipe pretraining() const {
    PretrainRecipe recipe;
    recipe.name = "test";
    recipe.tokenizer = (folder_ / "teacher").string();
    recipe.model = to_json(byte_teacher_config());
    recipe.data = data();
    recipe.phases = {{"a", short_stage()}, {"b", short_stage()}};
    return recipe;
  }

  TemporaryFolder folder_;
};

TEST_F(Pipeline, stage_3_alone_reads_the_text_of_its_own) {
  HaloRecipe recipe = conversion();
  convert_into("one", recipe);
  recipe.data.long_train = {(folder_ / "long.txt").string()};
  convert_into("two", recipe);
  const fs::path distilled = folder_ / "one/5-distill", tuned = folder_ / "one/6-finetune";
  EXPECT_EQ(equal_tensors(distilled, folder_ / "two/5-distill").size(), tensors(distilled));
  EXPECT_LT(equal_tensors(tuned, folder_ / "two/6-finetune").size(), tensors(tuned));
  EXPECT_FALSE(fs::exists(folder_ / "one/tokens-long"));
  EXPECT_EQ(TokenDataset(folder_ / "two/tokens-long").tokens(),
            static_cast<int64_t>(read_file(folder_ / "long.txt").size()) + 1)
      << "and an end of text";
}

TEST_F(Pipeline, a_head_that_config_json_ties_in_vain_is_converted) {
  const HaloRecipe recipe = conversion();
  const fs::path teacher = folder_ / "teacher/model.safetensors";
  const SafetensorsFile weights(teacher);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace_back(name, weights.tensor(name));
  tensors.emplace_back("lm_head.weight", torch::randn({testing_support::kByteTokens, 32}));
  write_safetensors(teacher, tensors);
  NoteObserver observer;
  convert(recipe, {.out = folder_ / "out", .observer = &observer});
  EXPECT_EQ(observer.count("tie_word_embeddings is true, but lm_head.weight differs"), 1);
  const Tensor transferred = Checkpoint(folder_ / "out/1-transfer").tensor("lm_head.weight");
  EXPECT_TRUE(torch::equal(transferred, tensors.back().second));
  for (const char* stage : {"1-transfer", "2-align", "4-hybrid", "6-finetune", "model"}) {
    const Checkpoint checkpoint(folder_ / "out" / stage);
    EXPECT_TRUE(checkpoint.contains("lm_head.weight")) << stage;
    EXPECT_EQ(checkpoint.config()["tie_word_embeddings"], false) << stage;
  }
}

TEST_F(Pipeline, a_teacher_of_other_tensors_than_its_config_is_refused_before_anything_is_made) {
  const HaloRecipe recipe = conversion();
  const fs::path teacher = folder_ / "teacher/model.safetensors";
  const SafetensorsFile weights(teacher);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace_back(name, weights.tensor(name));
  tensors.emplace_back("model.layers.0.self_attn.sinks", torch::ones({4}));
  write_safetensors(teacher, tensors);
  EXPECT_ERROR(convert_into("out", recipe), "teacher: tensor model.layers.0.self_attn.sinks: ");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Pipeline, text_tokenized_before_newer_keys_is_used_again) {
  PretrainRecipe recipe = pretraining();
  pretrain(recipe, {.out = folder_ / "out"});
  Json settings = read_json(folder_ / "out/tokens.json");
  EXPECT_EQ(settings.erase("on_bad_document"), 1u);
  write_json(folder_ / "out/tokens.json", settings);
  EXPECT_NO_THROW(pretrain(recipe, {.out = folder_ / "out"}));
  recipe.data.on_bad_document = "fail";
  EXPECT_ERROR(pretrain(recipe, {.out = folder_ / "out"}), "on_bad_document: expected");
}

TEST_F(Pipeline, bad_documents_of_the_text_are_noted_or_fail) {
  write_file(folder_ / "bad.jsonl", "{\"text\": null}\n");
  PretrainRecipe recipe = pretraining();
  recipe.data.train.push_back((folder_ / "bad.jsonl").string());
  NoteObserver observer;
  pretrain(recipe, {.out = folder_ / "out", .observer = &observer});
  EXPECT_EQ(observer.count("1 of 2 documents left out: 1 for null instead of a string"), 1);
  recipe.data.on_bad_document = "fail";
  EXPECT_ERROR(pretrain(recipe, {.out = folder_ / "other"}),
               "bad.jsonl:1: text: expected a string, found null");
}

TEST_F(Pipeline, what_a_stage_freezes_is_looked_up_before_anything_is_made) {
  HaloRecipe recipe = conversion();
  recipe.finetune.frozen = {"mlp", "selfattn"};
  EXPECT_ERROR(convert_into("out", recipe),
               "test: finetune: frozen: expected part of a parameter's name, found \"selfattn\"");
  recipe.finetune.frozen = {"o_gate", "z_proj"};  // of attention, of recurrent layers
  recipe.align.frozen = {"o_gate"};
  EXPECT_ERROR(convert_into("out", recipe), "test: align: frozen: expected part of a parameter's");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  recipe.align.frozen.clear();
  convert_into("out", recipe);
  const auto kept = equal_tensors(folder_ / "out/5-distill", folder_ / "out/6-finetune");
  EXPECT_EQ(kept, (std::set<std::string>{"model.layers.0.self_attn.o_gate.weight",
                                         "model.layers.1.self_attn.z_proj.weight"}));

  PretrainRecipe from_scratch = pretraining();
  from_scratch.phases[1].stage.frozen = {"mpl"};
  EXPECT_ERROR(pretrain(from_scratch, {.out = folder_ / "scratch"}),
               "test: phases: b: frozen: expected part of a parameter's name, found \"mpl\"");
  EXPECT_FALSE(fs::exists(folder_ / "scratch/1-a"));
}

TEST_F(Pipeline, a_phase_trains_what_the_one_before_it_froze) {
  PretrainRecipe recipe = pretraining();
  recipe.phases[0].stage.frozen = {"mlp"};
  pretrain(recipe, {.out = folder_ / "out"});
  EXPECT_EQ(equal_tensors(folder_ / "out/1-a", folder_ / "out/2-b"), std::set<std::string>());

  const std::string weights = read_file(folder_ / "out/model/model.safetensors");
  fs::remove_all(folder_ / "out/2-b");
  fs::remove_all(folder_ / "out/model");
  pretrain(recipe, {.out = folder_ / "out"});
  EXPECT_TRUE(read_file(folder_ / "out/model/model.safetensors") == weights)
      << "a resumed run has all weights of the first phase";
}

}  // namespace
}  // namespace hypenet
