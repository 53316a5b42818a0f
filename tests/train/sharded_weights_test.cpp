// A model shared out over ranks trains as a whole one does, and its states are those of a whole
// one.
#include "train/sharded_weights.h"

#include <gtest/gtest.h>

#include "store/safetensors.h"
#include "tests/support/logged_losses.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/token_dataset.h"
#include "train/cross_entropy.h"
#include "train/loop.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;
using testing_support::tiny_hypenet_config;

struct Sharding {
  std::string name;
  bool ties_head = true, checkpoints = false;
  std::string precision = "float32";
  std::vector<std::string> frozen = {};
};

class ShardedTraining : public testing::TestWithParam<Sharding> {
 protected:
  ShardedTraining() {
    Random random(1);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 400; ++i) tokens.push_back(static_cast<int32_t>(random.below(64)));
    write_dataset(folder_ / "tokens", {.shards = {tokens}, .vocab_size = 64});
    config_.steps = 4, config_.sequences = 12, config_.context = 16, config_.save_every = 2;
    config_.micro_sequences = 3, config_.log_every = 1, config_.optimizer.warmup_steps = 2;
    config_.activation_checkpointing = GetParam().checkpoints;
    config_.precision = GetParam().precision;
  }

  CausalLm new_model() const {
    torch::manual_seed(3);
    ModelConfig config = tiny_hypenet_config();
    config.tie_word_embeddings = GetParam().ties_head;
    CausalLm model(config);
    for (auto& item : model->named_parameters()) {
      for (const std::string& part : GetParam().frozen) {
        if (item.key().find(part) != std::string::npos) item.value().set_requires_grad(false);
      }
    }
    model->prepare(config_.compute_plan());
    return model;
  }

  /// Trains `steps` of config_.steps on so many ranks and gives the model of the last one.
  CausalLm train_on(int64_t count, const std::string& out, int64_t steps) const {
    std::filesystem::create_directories(folder_ / out);
    std::vector<CausalLm> models;  // made here: threads share a generator
    for (int64_t i = 0; i < count; ++i) models.push_back(new_model());
    run_ranks(count, [&](const std::shared_ptr<Communicator>& communicator) {
      CausalLm& model = models[static_cast<size_t>(communicator->ranks().index)];
      Stopping objective(model);
      std::atomic<bool> stop = false;
      objective.at = steps * micro_batches(communicator->ranks()), objective.stop = &stop;
      std::shared_ptr<ShardedWeights> sharded;
      if (count > 1) sharded = ShardedWeights::share_out(model, communicator);
      const TrainJob job{.stage = "stage",
                         .config = config_,
                         .parameters = sharded ? sharded->whole() : trainable_parameters(model),
                         .sharded = sharded,
                         .folder = folder_ / out,
                         .settings = Json::object(),
                         .stop = &stop,
                         .after_update = [model]() mutable { model->refresh_compute_copies(); },
                         .communicator = communicator};
      const Batches batches(std::make_shared<TokenDataset>(folder_ / "tokens"), nullptr,
                            {config_.sequences, config_.context, 5, config_.mixture});
      train(job, batches, objective);
      if (sharded) sharded->make_whole();
    });
    return models.back();
  }

  std::vector<double> losses(const std::string& out) const {
    return testing_support::logged_losses(folder_ / out);
  }

  void expect_close(CausalLm& expected, CausalLm& found) const {
    const double tolerance = GetParam().precision == "float32" ? 1e-4 : 2e-2;
    const auto wholes = expected->named_parameters();
    for (const auto& item : found->named_parameters()) {
      EXPECT_TRUE(torch::allclose(item.value(), wholes[item.key()], tolerance, tolerance / 10))
          << item.key();
    }
  }

  TemporaryFolder folder_;
  StageConfig config_;

 private:
  struct Stopping : CrossEntropyObjective {
    using CrossEntropyObjective::CrossEntropyObjective;
    Tensor accumulate(const Batch& batch, double weight) override {
      if (++calls == at) *stop = true;
      return CrossEntropyObjective::accumulate(batch, weight);
    }
    int64_t calls = 0, at = 0;
    std::atomic<bool>* stop = nullptr;
  };

  int64_t micro_batches(const Ranks& ranks) const {
    const int64_t rows = config_.sequences / ranks.count, micro = config_.micro_sequences;
    return (rows + micro - 1) / micro;
  }
};

TEST_P(ShardedTraining, of_any_number_of_ranks_is_that_of_one) {
  CausalLm alone = train_on(1, "alone", config_.steps);
  for (const int64_t count : {2, 3}) {
    const std::string out = concat("ranks", count);
    CausalLm shared_out = train_on(count, out, config_.steps);
    expect_close(alone, shared_out);
    const std::vector<double> expected = losses("alone"), found = losses(out);
    ASSERT_EQ(found.size(), expected.size());
    const double tolerance = GetParam().precision == "float32" ? 2e-5 : 1e-2;
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance);
  }
}

TEST_P(ShardedTraining, goes_on_from_a_state_of_other_ranks) {
  CausalLm whole = train_on(1, "whole", config_.steps);
  for (const int64_t later : {1, 3}) {
    const std::string out = concat("from-two-on-", later);
    train_on(2, out, 3);
    CausalLm resumed = train_on(later, out, config_.steps);
    EXPECT_EQ(losses(out).size(), 4);
    expect_close(whole, resumed);
  }
}

TEST_P(ShardedTraining, a_state_has_the_tensors_that_one_process_saves) {
  train_on(1, "one", config_.steps);
  train_on(3, "three", config_.steps);
  const SafetensorsFile expected(folder_ / "one/stage.state.safetensors");
  const SafetensorsFile found(folder_ / "three/stage.state.safetensors");
  ASSERT_EQ(found.names(), expected.names());
  for (const std::string& name : found.names()) {
    ASSERT_EQ(found.tensor(name).sizes(), expected.tensor(name).sizes()) << name;
    if (GetParam().precision != "float32") continue;
    EXPECT_TRUE(torch::allclose(found.tensor(name), expected.tensor(name), 1e-3, 1e-4)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ShardedTraining,
    testing::Values(Sharding{"tied"}, Sharding{"head_of_its_own", /*ties_head=*/false},
                    Sharding{.name = "checkpointed", .checkpoints = true},
                    Sharding{.name = "in_bfloat16", .ties_head = false, .precision = "bfloat16"},
                    Sharding{.name = "frozen_mlp", .frozen = {"mlp", "embed"}}),
    [](const auto& info) { return info.param.name; });

/// What layers are there while a forward and its backward run.
TEST(ShardedWeights, hold_two_layers_at_a_time) {
  const auto new_model = [] {
    torch::manual_seed(3);
    return CausalLm(tiny_hypenet_config());
  };
  std::vector<CausalLm> models = {new_model(), new_model()};
  const Tensor ids = torch::randint(64, {2, 8}, torch::kInt64);
  run_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
    CausalLm& model = models[static_cast<size_t>(communicator->ranks().index)];
    const Tensor expected = model->forward(ids).detach();
    const auto sharded = ShardedWeights::share_out(model, communicator);
    const auto there = [&] {
      std::vector<int64_t> layers;
      for (const ModelMatrix& matrix : model->matrices()) {
        const bool is_new = layers.empty() || layers.back() != matrix.layer;
        if (is_new && matrix.weight->copy.storage().data() != nullptr)
          layers.push_back(matrix.layer);
      }
      return layers;
    };
    EXPECT_TRUE(there().empty());
    const Tensor logits = model->forward(ids);
    EXPECT_TRUE(torch::equal(logits, expected));
    EXPECT_EQ(there(), (std::vector<int64_t>{2, 3})) << "the last layer and the embedding";
    logits.sum().backward();
    EXPECT_EQ(there(), (std::vector<int64_t>{0, 3}));
    sharded->finish();
    EXPECT_TRUE(there().empty());
    sharded->make_whole();
    EXPECT_TRUE(torch::equal(model->forward(ids), expected));
  });
}

}  // namespace
}  // namespace hypenet
