// The loop's promises: resumed = uninterrupted, nothing moves on a non-finite loss, other settings
// are refused.
#include "train/loop.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/token_dataset.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::tiny_hypenet_config;

/// A corpus that can be learned: sixteen random tokens over and over.
std::vector<int32_t> some_tokens(int64_t count) {
  Random random(1);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(i < 16 ? static_cast<int32_t>(random.below(64))
                            : tokens[static_cast<size_t>(i) - 16]);
  }
  return tokens;
}

/// A folder with a small corpus, and the job of training a tiny HypeNet on it.
class TrainLoop : public testing::Test {
 protected:
  TrainLoop() {
    write_dataset(folder_ / "tokens", {.shards = {some_tokens(400)}, .vocab_size = 64});
    config_.steps = 7, config_.sequences = 2, config_.context = 16;
    config_.save_every = 2, config_.log_every = 1;
    config_.optimizer.warmup_steps = 2;
  }

  CausalLm new_model() const {
    torch::manual_seed(3);
    return CausalLm(tiny_hypenet_config());
  }

  TrainResult run(CausalLm& model, const std::string& out, Objective& objective,
                  const std::atomic<bool>* stop = nullptr) {
    std::filesystem::create_directories(folder_ / out);
    const Batches batches(std::make_shared<TokenDataset>(folder_ / "tokens"), nullptr,
                          {config_.sequences, config_.context, 5, config_.mixture});
    const TrainJob job{.stage = "stage",
                       .config = config_,
                       .parameters = trainable_parameters(model),
                       .folder = folder_ / out,
                       .settings = {{"lr", config_.optimizer.peak_lr}},
                       .stop = stop};
    return train(job, batches, objective);
  }

  std::string metrics(const std::string& out) const {
    std::string losses;
    std::istringstream lines(read_file(folder_ / (out + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line);
      losses += concat(json["step"], ":", json["loss"], " ");
    }
    return losses;
  }

  TemporaryFolder folder_;
  StageConfig config_;
};

void expect_same_parameters(CausalLm& a, CausalLm& b) {
  const auto expected = a->named_parameters(), found = b->named_parameters();
  for (const auto& item : expected) {
    EXPECT_TRUE(torch::equal(item.value(), found[item.key()])) << item.key();
  }
}

/// Cross-entropy that raises the stop flag, or spoils a weight, at one step.
class Meddling : public CrossEntropyObjective {
 public:
  using CrossEntropyObjective::CrossEntropyObjective;
  Tensor accumulate(const Batch& batch, double weight) override {
    if (calls_++ == at && action) action();
    return CrossEntropyObjective::accumulate(batch, weight);
  }
  int at = 0;
  std::function<void()> action;

 private:
  int calls_ = 0;
};

TEST_F(TrainLoop, learns_its_small_corpus) {
  config_.steps = 30, config_.save_every = 30, config_.optimizer.peak_lr = 1e-2;
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  EXPECT_EQ(run(model, "out", objective), TrainResult::kFinished);
  std::istringstream lines(read_file(folder_ / "out/metrics.jsonl"));
  std::string first, line, last;
  std::getline(lines, first);
  while (std::getline(lines, line)) last = line;
  EXPECT_NEAR(Json::parse(first)["loss"].get<double>(), std::log(64.0), 0.2);
  EXPECT_LT(Json::parse(last)["loss"].get<double>(), 1);
}

TEST_F(TrainLoop, stopped_and_resumed_ends_with_the_bits_of_an_uninterrupted_run) {
  CausalLm whole = new_model();
  CrossEntropyObjective objective(whole);
  ASSERT_EQ(run(whole, "whole", objective), TrainResult::kFinished);
  for (const int stop_at : {0, 1, 4}) {
    const std::string out = concat("stopped", stop_at);
    std::atomic<bool> stop = false;
    CausalLm first = new_model();
    Meddling meddling(first);
    meddling.at = stop_at, meddling.action = [&] { stop = true; };
    ASSERT_EQ(run(first, out, meddling, &stop), TrainResult::kInterrupted);
    CausalLm second = new_model();
    CrossEntropyObjective rest(second);
    ASSERT_EQ(run(second, out, rest), TrainResult::kFinished);
    expect_same_parameters(whole, second);
    EXPECT_EQ(metrics(out), metrics("whole"));
  }
}

TEST_F(TrainLoop, killed_after_a_save_repeats_only_the_steps_since) {
  CausalLm whole = new_model();
  CrossEntropyObjective objective(whole);
  run(whole, "whole", objective);
  CausalLm first = new_model();
  Meddling meddling(first);
  meddling.at = 5, meddling.action = [] { throw std::runtime_error("killed"); };
  EXPECT_THROW(run(first, "killed", meddling), std::runtime_error);
  CausalLm second = new_model();
  Meddling rest(second);
  rest.at = 3, rest.action = [] { FAIL() << "steps 5, 6 and 7 are left after the save at step 4"; };
  ASSERT_EQ(run(second, "killed", rest), TrainResult::kFinished);
  expect_same_parameters(whole, second);
  EXPECT_EQ(metrics("killed"), metrics("whole"));
}

TEST_F(TrainLoop, micro_batches_add_up_to_the_whole_batch) {
  config_.sequences = 5, config_.steps = 2;
  CausalLm whole = new_model(), parts = new_model();
  CrossEntropyObjective a(whole), b(parts);
  run(whole, "whole", a);
  config_.micro_sequences = 2;
  run(parts, "parts", b);
  const auto expected = whole->named_parameters(), found = parts->named_parameters();
  for (const auto& item : expected) {
    EXPECT_TRUE(torch::allclose(item.value(), found[item.key()], 1e-4, 1e-5)) << item.key();
  }
}

TEST_F(TrainLoop, a_nonfinite_loss_stops_before_the_optimizer_moves_and_names_the_layer) {
  CausalLm model = new_model();
  Meddling meddling(model);
  std::vector<Tensor> before;
  meddling.at = 2, meddling.action = [&] {
    const torch::NoGradGuard no_grad;
    model->named_parameters()["model.layers.1.mlp.up_proj.weight"].fill_(
        std::numeric_limits<float>::infinity());
    for (const auto& parameter : model->parameters()) before.push_back(parameter.detach().clone());
  };
  EXPECT_ERROR(run(model, "out", meddling),
               "stage: step 3: expected a finite loss and gradient, found loss nan");
  size_t i = 0;
  for (const auto& parameter : model->parameters())
    EXPECT_TRUE(torch::equal(parameter, before[i++]));
  CausalLm again = new_model();
  CrossEntropyObjective objective(again);
  EXPECT_EQ(run(again, "out", objective), TrainResult::kFinished)
      << "the saved state is still good";
}

TEST_F(TrainLoop, the_first_nonfinite_layer_is_found) {
  CausalLm model = new_model();
  const Tensor ids = torch::zeros({1, 4}, torch::kInt64);
  EXPECT_EQ(first_nonfinite_layer(model, ids), "");
  const torch::NoGradGuard no_grad;
  model->named_parameters()["model.layers.2.mlp.up_proj.weight"].fill_(std::nanf(""));
  EXPECT_EQ(first_nonfinite_layer(model, ids), "layer 2 mlp");
  model->named_parameters()["model.layers.1.self_attn.o_proj.weight"].fill_(std::nanf(""));
  EXPECT_EQ(first_nonfinite_layer(model, ids), "layer 1 mixer");
}

TEST_F(TrainLoop, a_state_saved_with_other_settings_is_refused) {
  std::atomic<bool> stop = true;
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  run(model, "out", objective, &stop);
  config_.optimizer.peak_lr = 0.5;
  EXPECT_ERROR(run(model, "out", objective),
               "made with other settings: lr: expected 0.5, found 0.001");
}

TEST_F(TrainLoop, sizes_that_make_no_sense_are_named) {
  config_.context = 0;
  EXPECT_ERROR(check_stage(config_, "r.json: align"),
               "r.json: align: context: expected a positive number, found 0");
  config_.context = 8, config_.precision = "float8";
  EXPECT_ERROR(check_stage(config_, "r.json"),
               "precision: expected \"float32\" or \"bfloat16\", found \"float8\"");
}

}  // namespace
}  // namespace hypenet
