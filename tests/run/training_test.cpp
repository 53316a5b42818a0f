// The frame of a training stage: what is frozen keeps its bytes, and what an earlier program left
// is gone on from.
#include "run/training.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/token_dataset.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;

/// Keeps the steps it is told of, and stops the run after one of them.
class StoppingObserver : public Observer {
 public:
  void on_step(const StepReport& report) override {
    steps.push_back(report.step);
    if (report.step == stop_after) stop = true;
  }
  void on_note(const std::string&) override {}
  void on_progress(const std::string&, int64_t, int64_t) override {}
  int64_t stop_after = 0;
  std::vector<int64_t> steps;
  std::atomic<bool> stop = false;
};

/// The settings as a program wrote them before stages had these keys.
Json before_newer_keys(Json settings) {
  if (!settings.is_object()) return settings;
  for (const char* key : {"objective", "frozen", "recall", "attn_logits_scaling"})
    settings.erase(key);
  for (auto& item : settings.items()) item.value() = before_newer_keys(item.value());
  return settings;
}

class TrainStage : public testing::Test {
 protected:
  TrainStage() {
    testing_support::write_byte_tokenizer(folder_.path());
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 400; ++i) tokens.push_back(i * i % 61);
    write_dataset(folder_ / "tokens",
                  {.shards = {tokens},
                   .vocab_size = 64,
                   .fingerprint = vocabulary_fingerprint(Tokenizer::load(folder_.path()))});
    config_.steps = 4, config_.sequences = 2, config_.context = 16, config_.log_every = 1;
  }

  static CausalLm new_model() {
    torch::manual_seed(3);
    return CausalLm(tiny_hypenet_config());
  }

  void run(CausalLm model, const Json& settings, StoppingObserver* observer = nullptr) const {
    CrossEntropyObjective objective(model);
    const auto completed = [](Json found, const std::filesystem::path& place) {
      complete<StageConfig>(found, "distill", place.string());
      return found;
    };
    train_stage({{.name = "stage",
                  .folder = folder_ / "stage",
                  .settings = settings,
                  .completed = completed},
                 config_,
                 model,
                 5},
                std::make_shared<TokenDataset>(folder_ / "tokens"), Tokenizer::load(folder_.path()),
                objective,
                {.out = folder_.path(),
                 .observer = observer,
                 .stop = observer ? &observer->stop : nullptr});
  }

  Json settings() const { return {{"seed", 5}, {"distill", write_fields(config_)}}; }

  TemporaryFolder folder_;
  StageConfig config_;
};

TEST_F(TrainStage, frozen_parameters_keep_their_bytes_and_the_others_learn) {
  config_.frozen = {"mlp", "embed_tokens"};
  CausalLm model = new_model(), untouched = new_model();
  run(model, settings());
  const auto before = untouched->named_parameters();
  for (const auto& item : model->named_parameters()) {
    const bool is_frozen =
        item.key().find(".mlp.") != std::string::npos || item.key() == "model.embed_tokens.weight";
    EXPECT_EQ(torch::equal(item.value(), before[item.key()]), is_frozen) << item.key();
  }
}

TEST_F(TrainStage, a_model_trained_with_logits_scaling_is_another_one) {
  CausalLm plain = new_model(), scaled = new_model();
  run(plain, settings());
  std::filesystem::remove(folder_ / "stage.state.safetensors");
  config_.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 4};
  scaled->prepare(config_.compute_plan());
  run(scaled, settings());
  EXPECT_FALSE(torch::equal(plain->named_parameters()["model.layers.1.self_attn.q_proj.weight"],
                            scaled->named_parameters()["model.layers.1.self_attn.q_proj.weight"]));
}

TEST_F(TrainStage, a_part_of_no_parameters_name_cannot_be_frozen) {
  config_.frozen = {"mlp", "mpl"};
  EXPECT_ERROR(run(new_model(), settings()),
               "stage: frozen: expected part of a parameter's name, found \"mpl\"");
}

TEST_F(TrainStage, a_state_saved_before_newer_keys_is_gone_on_from) {
  StoppingObserver first, second;
  first.stop_after = 2;
  ASSERT_THROW(run(new_model(), before_newer_keys(settings()), &first), Interrupted);
  ASSERT_LT(first.steps.back(), 4);
  run(new_model(), settings(), &second);
  ASSERT_FALSE(second.steps.empty());
  EXPECT_EQ(second.steps.front(), first.steps.back() + 1);
  EXPECT_EQ(second.steps.back(), 4);
}

TEST_F(TrainStage, a_state_saved_with_another_value_of_a_newer_key_is_refused) {
  StoppingObserver first;
  first.stop_after = 2;
  ASSERT_THROW(run(new_model(), before_newer_keys(settings()), &first), Interrupted);
  config_.frozen = {"mlp"};
  EXPECT_ERROR(run(new_model(), settings()), "made with other settings: distill.frozen");
}

}  // namespace
}  // namespace hypenet
