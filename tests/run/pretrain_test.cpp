// Training that begins with the weights of a folder: with exactly these, of any model that is
// trained, and of no other folder when it goes on.
#include "run/pretrain.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/files.h"
#include "base/random.h"
#include "data/batches.h"
#include "model/mixers/supra.h"
#include "model/weights.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/close_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/logged_losses.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

ModelConfig transformer() {
  ModelConfig config = testing_support::tiny_teacher_config();
  config.vocab_size = testing_support::kByteTokens;
  return config;
}

ModelConfig untied_transformer() {
  ModelConfig config = transformer();
  config.tie_word_embeddings = false;
  return config;
}

/// SUPRA with fewer heads of keys than of queries, so that it has both maps; attention between.
ModelConfig supra_hybrid(bool is_tied) {
  ModelConfig config = testing_support::tiny_hypenet_config();
  config.vocab_size = testing_support::kByteTokens;
  config.mixer_types = {&kSupraMixer, &kAttentionMixer, &kSupraMixer};
  config.mixers.of<SupraConfig>() = {.n_heads = 4, .n_heads_kv = 2, .qk_head_dim = 16};
  config.tie_word_embeddings = is_tied;
  return config;
}

/// Keeps the losses, and stops the run after a step.
class StoppingObserver : public Observer {
 public:
  explicit StoppingObserver(int64_t stop_after = 0) : stop_after_(stop_after) {}
  void on_step(const StepReport& report) override {
    losses.push_back(report.loss);
    if (report.step == stop_after_) stop = true;
  }
  void on_note(const std::string& text) override { notes += text + "\n"; }
  void on_progress(const std::string&, int64_t, int64_t) override {}

  std::vector<double> losses;
  std::string notes;
  std::atomic<bool> stop = false;

 private:
  int64_t stop_after_ = 0;
};

class Uptraining : public testing::Test {
 protected:
  Uptraining() {
    std::string text;
    for (int i = 0; i < 60; ++i) text += concat("Sentence ", i, " of a short text. ");
    write_file(folder_ / "text.txt", text);
    write_model(transformer());
  }

  fs::path begun_with() const { return folder_ / "begun-with"; }

  /// The folder that training begins with: random weights, by default in bfloat16.
  void write_model(const ModelConfig& config, torch::ScalarType type = torch::kBFloat16) const {
    torch::manual_seed(1);
    CausalLm model(config);
    fs::remove_all(begun_with());
    write_checkpoint(begun_with(), {.config = to_json(config),
                                    .tensors = named_weights(*model, type),
                                    .run = {},
                                    .companions_from = {}});
    testing_support::write_byte_tokenizer(begun_with());
  }

  /// Writes the folder's weights anew, after a change.
  void change_weights(const std::function<void(NamedTensors&)>& change) const {
    const fs::path file = begun_with() / "model.safetensors";
    NamedTensors tensors;
    {
      const SafetensorsFile weights(file);
      for (const std::string& name : weights.names())
        tensors.emplace_back(name, weights.tensor(name).clone());
    }
    change(tensors);
    write_safetensors(file, tensors);
  }

  PretrainRecipe recipe(int64_t steps) const {
    StageConfig stage;
    stage.steps = steps, stage.sequences = 2, stage.context = 16;
    stage.log_every = 1, stage.save_every = 1;
    PretrainRecipe recipe;
    recipe.name = "test";
    recipe.model = begun_with().string();
    recipe.data.train = recipe.data.validation = {(folder_ / "text.txt").string()};
    recipe.phases = {{"uptrain", stage}};
    recipe.evaluate.context = 16, recipe.evaluate.windows = 2;
    return recipe;
  }

  RunOptions options(const std::string& out, StoppingObserver* observer = nullptr) const {
    return {
        .out = folder_ / out, .observer = observer, .stop = observer ? &observer->stop : nullptr};
  }

  std::string weights(const std::string& folder) const {
    return read_file(folder_ / folder / "model.safetensors");
  }

  TemporaryFolder folder_;
};

TEST_F(Uptraining, begins_with_exactly_the_weights_of_the_folder) {
  const ModelConfig configs[] = {transformer(), untied_transformer(), supra_hybrid(true),
                                 supra_hybrid(false)};
  for (size_t i = 0; i < std::size(configs); ++i) {
    write_model(configs[i]);
    const std::string out = concat("out-", i);
    pretrain(recipe(0), options(out));
    const Checkpoint from(begun_with()), phase(folder_ / out / "1-uptrain"),
        model(folder_ / out / "model");
    EXPECT_EQ(from.names(), model.names());
    for (const std::string& name : from.names()) {
      EXPECT_TRUE(torch::equal(phase.tensor(name), from.tensor(name).to(torch::kFloat32))) << name;
      EXPECT_TRUE(torch::equal(model.tensor(name), from.tensor(name))) << name;
    }
    EXPECT_TRUE(read_model_config(model).tie_word_embeddings == configs[i].tie_word_embeddings);
    EXPECT_EQ(model.config()["model_type"], from.config()["model_type"]);
    const Json results = read_json(folder_ / out / "results.json");
    EXPECT_EQ(results["beginning"], results["model"]) << "nothing was learnt";
  }
}

TEST_F(Uptraining, the_first_loss_is_what_the_evaluator_finds_of_the_folder) {
  for (const ModelConfig& config : {transformer(), supra_hybrid(false)}) {
    write_model(config);
    PretrainRecipe one_step = recipe(1);
    StageConfig& stage = one_step.phases[0].stage;
    stage.sequences = 1;
    const std::string out = config.mixer_types[0]->name == "supra" ? "supra" : "transformer";
    pretrain(one_step, options(out));
    const uint64_t seed = Random(0, {0}).next();
    const Batch batch = Batches(std::make_shared<TokenDataset>(folder_ / out / "tokens"), nullptr,
                                {stage.sequences, stage.context, seed, stage.mixture})
                            .at(0);
    std::vector<int32_t> row;
    for (int64_t i = 0; i < stage.context; ++i) row.push_back(batch.ids[0][i].item<int32_t>());
    row.push_back(batch.targets[0][-1].item<int32_t>());
    Engine engine(load_model(Checkpoint(begun_with()), torch::kFloat32, torch::kCPU));
    OneProcess alone;
    const double loss = std::log(measure_text(engine, alone, row, stage.context, 1).perplexity);
    EXPECT_NEAR(testing_support::logged_losses(folder_ / out).front(), loss, 1e-5) << out;
  }
}

TEST_F(Uptraining, learns_and_says_what_it_began_with) {
  PretrainRecipe learning = recipe(8);
  learning.phases[0].stage.optimizer.warmup_steps = 1;
  learning.phases.push_back({"more", learning.phases[0].stage});
  pretrain(learning, options("out"));
  const Json results = read_json(folder_ / "out/results.json");
  EXPECT_LT(results["model"]["perplexity"].get<double>(),
            results["beginning"]["perplexity"].get<double>());
  const auto parents = [&](const char* stage) {
    return read_json(folder_ / "out" / stage / "run.json")["parents"];
  };
  EXPECT_EQ(parents("1-uptrain"), Json({begun_with().string()}));
  EXPECT_EQ(parents("2-more"), Json({(folder_ / "out/1-uptrain").string()}));
  EXPECT_EQ(parents("model"), Json({(folder_ / "out/2-more").string()}));
  const Json model = read_json(folder_ / "out/model/run.json")["settings"]["model"];
  EXPECT_EQ(model["folder"], begun_with().string());
  EXPECT_EQ(model["weights"].get<std::string>().size(), 16U);
  EXPECT_EQ(read_file(folder_ / "out/model/tokenizer.json"),
            read_file(begun_with() / "tokenizer.json"));
}

TEST_F(Uptraining, a_run_from_scratch_has_no_folder_that_it_began_with) {
  PretrainRecipe scratch = recipe(1);
  scratch.tokenizer = begun_with().string();
  scratch.model = to_json(transformer());
  pretrain(scratch, options("out"));
  EXPECT_FALSE(read_json(folder_ / "out/results.json").contains("beginning"));
  const Json run = read_json(folder_ / "out/1-uptrain/run.json");
  EXPECT_EQ(run["parents"], Json::array());
  EXPECT_EQ(run["settings"]["model"], to_json(transformer()));
}

TEST_F(Uptraining, what_a_phase_freezes_stays_the_folders) {
  PretrainRecipe frozen = recipe(2);
  frozen.phases[0].stage.frozen = {"mlp"};
  pretrain(frozen, options("out"));
  const Checkpoint from(begun_with()), phase(folder_ / "out/1-uptrain");
  for (const std::string& name : from.names()) {
    const bool is_equal = torch::equal(phase.tensor(name), from.tensor(name).to(torch::kFloat32));
    EXPECT_EQ(is_equal, name.find(".mlp.") != name.npos) << name;
  }
}

TEST_F(Uptraining, resumes_bit_for_bit) {
  write_model(supra_hybrid(false), torch::kFloat32);
  pretrain(recipe(4), options("whole"));
  StoppingObserver first(2), second;
  EXPECT_THROW(pretrain(recipe(4), options("stopped", &first)), Interrupted);
  ASSERT_FALSE(fs::exists(folder_ / "stopped/1-uptrain"));
  pretrain(recipe(4), options("stopped", &second));
  EXPECT_LT(second.losses.size(), 4U) << "it went on from a saved state";
  EXPECT_TRUE(weights("stopped/1-uptrain") == weights("whole/1-uptrain"));
  EXPECT_TRUE(weights("stopped/model") == weights("whole/model"));
}

TEST_F(Uptraining, a_folder_that_has_changed_is_refused) {
  StoppingObserver stopping(1);
  EXPECT_THROW(pretrain(recipe(4), options("stopped", &stopping)), Interrupted);
  pretrain(recipe(2), options("done"));
  const auto expect_refused = [&] {
    for (const char* out : {"stopped", "done"}) {
      EXPECT_ERROR(pretrain(recipe(out == std::string("done") ? 2 : 4), options(out)),
                   "made with other settings: model.weights: expected");
    }
  };
  change_weights([](NamedTensors& tensors) { tensors.back().second.flatten()[-1] += 1; });
  expect_refused();
  change_weights([](NamedTensors& tensors) { tensors.back().second.flatten()[-1] -= 1; });
  EXPECT_NO_THROW(pretrain(recipe(2), options("done")));
  const fs::path moved = folder_ / "moved";
  fs::copy(begun_with(), moved, fs::copy_options::recursive);
  PretrainRecipe elsewhere = recipe(2);
  elsewhere.model = moved.string();
  EXPECT_ERROR(pretrain(elsewhere, options("done")), "model.folder: expected");
}

/// Has a space in front of every text from now on; the vocabulary stays.
void change_tokenizer(const fs::path& folder) {
  Json definition = read_json(folder / "tokenizer.json");
  definition["pre_tokenizer"]["add_prefix_space"] = true;
  write_json(folder / "tokenizer.json", definition);
}

TEST_F(Uptraining, a_tokenizer_that_has_changed_is_refused) {
  PretrainRecipe scratch = recipe(4);
  scratch.tokenizer = begun_with().string(), scratch.model = to_json(transformer());
  for (const PretrainRecipe& any : {recipe(4), scratch}) {
    write_model(transformer());
    const std::string out = any.has_folder() ? "uptrained" : "scratch";
    StoppingObserver stopping(1);
    EXPECT_THROW(pretrain(any, options(out, &stopping)), Interrupted);
    change_tokenizer(begun_with());
    EXPECT_ERROR(pretrain(any, options(out)), "tokens: expected tokens of this tokenizer");
    fs::remove_all(folder_ / out / "tokens");
    EXPECT_ERROR(pretrain(any, options(out)), "made with other settings: tokenizer: expected");
  }
}

TEST_F(Uptraining, a_run_older_than_the_tokenizers_fingerprint_is_gone_on_from) {
  pretrain(recipe(2), options("out"));
  const auto edit = [&](const char* file, const std::function<void(Json&)>& change) {
    Json json = read_json(folder_ / "out" / file);
    change(json);
    write_json(folder_ / "out" / file, json);
  };
  edit("tokens/dataset.json", [&](Json& json) {
    json["tokenizer"] = vocabulary_fingerprint(Tokenizer::load(begun_with()));
  });
  for (const char* file : {"1-uptrain/run.json", "model/run.json", "results.json"})
    edit(file, [](Json& json) { ASSERT_EQ(json["settings"].erase("tokenizer"), 1u); });
  const std::string results = read_file(folder_ / "out/results.json");
  StoppingObserver observer;
  pretrain(recipe(2), options("out", &observer));
  EXPECT_THAT(observer.notes, testing::HasSubstr("tokens: made by an earlier program"));
  EXPECT_THAT(observer.notes, testing::HasSubstr("model: done before"));
  EXPECT_EQ(read_file(folder_ / "out/results.json"), results) << "nor is it measured anew";
}

TEST_F(Uptraining, unfit_folders_are_refused_before_anything_is_made) {
  const auto expect_refused = [&](const PretrainRecipe& recipe, const std::string& text) {
    EXPECT_ERROR(pretrain(recipe, options("out")), text);
    EXPECT_FALSE(fs::exists(folder_ / "out")) << text;
  };
  PretrainRecipe other = recipe(1);
  other.model = (folder_ / "none").string();
  expect_refused(other, "none: expected a model folder, found nothing");
  other.model = (folder_ / "text.txt").string();
  expect_refused(other, "text.txt: ");
  other.model = HYPENET_TEST_DATA "/models/radlads";
  expect_refused(other, "which is only read");
  other = recipe(1);
  other.phases[0].stage.frozen = {"z_proj"};
  expect_refused(other, "frozen: expected part of a parameter's name, found \"z_proj\"");
  change_weights([](NamedTensors& tensors) { tensors.pop_back(); });
  expect_refused(recipe(1), "expected in the checkpoint, found none");
  ModelConfig narrow = transformer();
  narrow.vocab_size = testing_support::kByteTokens - 1;
  write_model(narrow);
  expect_refused(recipe(1), "expected a vocabulary of at most the embedding's 256 rows");
  write_model(transformer());
  fs::remove(begun_with() / "tokenizer.json");
  expect_refused(recipe(1), "tokenizer.json");
}

TEST_F(Uptraining, two_ranks_train_what_one_process_does) {
  write_model(supra_hybrid(true), torch::kFloat32);
  pretrain(recipe(3), options("one"));
  testing_support::run_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
    RunOptions shared = options("two");
    shared.communicator = communicator;
    pretrain(recipe(3), shared);
  });
  const Checkpoint one(folder_ / "one/1-uptrain"), two(folder_ / "two/1-uptrain");
  for (const std::string& name : one.names())
    EXPECT_TRUE(torch::allclose(one.tensor(name), two.tensor(name), 1e-4, 1e-5)) << name;
}

}  // namespace
}  // namespace hypenet
