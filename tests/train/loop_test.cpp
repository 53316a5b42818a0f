// The loop's promises: resumed = uninterrupted, nothing moves on a non-finite loss, other settings
// are refused.
#include "train/loop.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/files.h"
#include "model/nonfinite.h"
#include "store/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/logged_losses.h"
#include "tests/support/shared_memory_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/token_dataset.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

using testing_support::run_ranks;
using testing_support::SharedMemory;
using testing_support::SharedMemoryCommunicator;
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

  TrainJob job_of(CausalLm& model, const std::string& out) const {
    return {.stage = "stage",
            .config = config_,
            .parameters = trainable_parameters(model),
            .folder = folder_ / out,
            .settings = {{"lr", config_.optimizer.peak_lr}}};
  }

  TrainResult run(const TrainJob& job, Objective& objective) const {
    std::filesystem::create_directories(job.folder);
    const Batches batches(std::make_shared<TokenDataset>(folder_ / "tokens"), nullptr,
                          {config_.sequences, config_.context, 5, config_.mixture});
    return train(job, batches, objective);
  }

  TrainResult run(CausalLm& model, const std::string& out, Objective& objective,
                  const std::atomic<bool>* stop = nullptr) const {
    TrainJob job = job_of(model, out);
    job.stop = stop;
    return run(job, objective);
  }

  /// Trains as the first of ranks that are not there.
  void run_as_first_of(int64_t count) const {
    CausalLm model = new_model();
    CrossEntropyObjective objective(model);
    TrainJob job = job_of(model, "out");
    job.communicator = std::make_shared<SharedMemoryCommunicator>(
        std::make_shared<SharedMemory>(count), Ranks{0, count});
    run(job, objective);
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

  std::vector<double> losses(const std::string& out) const {
    return testing_support::logged_losses(folder_ / out);
  }

  TemporaryFolder folder_;
  StageConfig config_;
};

void expect_close_parameters(CausalLm& a, CausalLm& b) {
  const auto expected = a->named_parameters(), found = b->named_parameters();
  for (const auto& item : expected) {
    EXPECT_TRUE(torch::allclose(item.value(), found[item.key()], 1e-4, 1e-5)) << item.key();
  }
}

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
  expect_close_parameters(whole, parts);
}

/// Counts the batches, so that a report can say how many there were before it.
class Counting : public CrossEntropyObjective {
 public:
  using CrossEntropyObjective::CrossEntropyObjective;
  Tensor accumulate(const Batch& batch, double weight) override {
    ++batches;
    return CrossEntropyObjective::accumulate(batch, weight);
  }
  int64_t batches = 0;
};

class ReportsAt : public Observer {
 public:
  explicit ReportsAt(const Counting& objective) : objective_(objective) {}
  void on_step(const StepReport& report) override {
    EXPECT_EQ(objective_.batches, report.step) << "the time until a report is that of its steps";
    ++reports;
  }
  void on_note(const std::string& /*text*/) override {}
  void on_progress(const std::string& /*stage*/, int64_t /*done*/, int64_t /*total*/) override {}
  int64_t reports = 0;

 private:
  const Counting& objective_;
};

TEST_F(TrainLoop, a_step_on_a_cpu_is_reported_before_the_next_one_runs) {
  CausalLm model = new_model();
  Counting objective(model);
  ReportsAt observer(objective);
  TrainJob job = job_of(model, "reports");
  job.observer = &observer;
  run(job, objective);
  EXPECT_EQ(observer.reports, config_.steps);
}

TEST_F(TrainLoop, ranks_learn_together_what_one_learns_alone) {
  config_.sequences = 5, config_.steps = 4;
  CausalLm alone = new_model();
  CrossEntropyObjective objective(alone);
  run(alone, "alone", objective);
  for (const int64_t count : {2, 3}) {
    std::vector<CausalLm> models;
    for (int64_t i = 0; i < count; ++i) models.push_back(new_model());
    const std::string out = concat("ranks", count);
    std::filesystem::create_directories(folder_ / out);
    run_ranks(count, [&](const std::shared_ptr<Communicator>& communicator) {
      CausalLm& model = models[static_cast<size_t>(communicator->ranks().index)];
      CrossEntropyObjective part(model);
      TrainJob job = job_of(model, out);
      job.communicator = communicator;
      run(job, part);
    });
    for (CausalLm& model : models) expect_same_parameters(models.front(), model);
    expect_close_parameters(alone, models.front());
    const std::vector<double> expected = losses("alone"), found = losses(out);
    ASSERT_EQ(found.size(), expected.size()) << "one rank writes";
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4);
  }
}

TEST_F(TrainLoop, ranks_stop_at_the_same_step_and_go_on_together) {
  config_.sequences = 3;
  CausalLm whole = new_model();
  CrossEntropyObjective objective(whole);
  run(whole, "whole", objective);
  std::vector<CausalLm> models = {new_model(), new_model()};
  std::filesystem::create_directories(folder_ / "ranks");
  const auto run_as_ranks = [&](bool stops, TrainResult expected) {
    run_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
      const int64_t index = communicator->ranks().index;
      std::atomic<bool> stop = false;
      Meddling part(models[static_cast<size_t>(index)]);
      part.at = 2, part.action = [&] { stop = stops && index == 1; };
      TrainJob job = job_of(models[static_cast<size_t>(index)], "ranks");
      job.communicator = communicator, job.stop = &stop;
      EXPECT_EQ(run(job, part), expected);
    });
  };
  run_as_ranks(true, TrainResult::kInterrupted);
  models = {new_model(), new_model()};
  run_as_ranks(false, TrainResult::kFinished);
  expect_close_parameters(whole, models[0]);
  expect_same_parameters(models[0], models[1]);
}

TEST_F(TrainLoop, more_ranks_than_sequences_are_refused) {
  EXPECT_ERROR(run_as_first_of(3),
               "stage: sequences: expected at least one for each of 3 ranks, found 2");
}

TEST_F(TrainLoop, ranks_with_unequal_numbers_of_micro_batches_are_refused) {
  config_.sequences = 5, config_.micro_sequences = 1;
  EXPECT_ERROR(run_as_first_of(2),
               "stage: sequences: expected a number that gives each of 2 ranks as many "
               "micro-batches of 1, found 5");
}

TEST_F(TrainLoop, keys_of_running_may_change_when_a_run_goes_on_and_others_may_not) {
  const auto stopped_job = [&](CausalLm& model) {
    TrainJob job = job_of(model, "out");
    job.settings = {{"align", write_fields(config_)}};
    return job;
  };
  CausalLm first = new_model(), second = new_model();
  std::atomic<bool> stop = false;
  Meddling meddling(first);
  meddling.at = 3, meddling.action = [&] { stop = true; };
  TrainJob job = stopped_job(first);
  job.stop = &stop;
  ASSERT_EQ(run(job, meddling), TrainResult::kInterrupted);

  config_.save_every = 5, config_.log_every = 3, config_.micro_sequences = 1;
  config_.cuda_graph = "off", config_.activation_checkpointing = true;
  check_saved_state(stopped_job(second));
  CrossEntropyObjective objective(second);
  EXPECT_EQ(run(stopped_job(second), objective), TrainResult::kFinished);

  config_.optimizer.clip = 2;
  EXPECT_ERROR(check_saved_state(stopped_job(second)),
               "made with other settings: align.optimizer.clip: expected 2.0, found 1.0");
}

TEST_F(TrainLoop, reports_say_which_loss_they_hold) {
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  run(model, "out", objective);
  std::istringstream lines(read_file(folder_ / "out/metrics.jsonl"));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(Json::parse(line)["loss_name"], "cross-entropy");
}

TEST_F(TrainLoop, what_is_made_of_the_parameters_follows_each_update) {
  CausalLm first = new_model(), second = new_model();
  std::atomic<bool> stop = false;
  Meddling meddling(first);
  meddling.at = 3, meddling.action = [&] { stop = true; };
  run(first, "out", meddling, &stop);
  CrossEntropyObjective objective(second);
  TrainJob job = job_of(second, "out");
  int64_t calls = 0;
  job.after_update = [&] {
    if (calls++ == 0) expect_same_parameters(first, second);
  };
  run(job, objective);
  EXPECT_EQ(calls, 1 + 3) << "once after loading, once an update";
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

/// Cross-entropy with a gradient that is not finite for the batch of one step, whenever it comes.
class Spoiling : public CrossEntropyObjective {
 public:
  Spoiling(CausalLm model, Tensor weight)
      : CrossEntropyObjective(std::move(model)), weight_(std::move(weight)) {}
  Tensor accumulate(const Batch& batch, double weight) override {
    const Tensor loss = CrossEntropyObjective::accumulate(batch, weight);
    if (++calls_ == 3) spoiled_ = batch.ids.clone();
    if (spoiled_.defined() && torch::equal(spoiled_, batch.ids)) weight_.mutable_grad().fill_(NAN);
    return loss;
  }

 private:
  Tensor weight_, spoiled_;
  int calls_ = 0;
};

TEST_F(TrainLoop, a_gradient_that_is_not_finite_is_named_though_a_later_step_has_run) {
  CausalLm model = new_model();
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  Spoiling objective(model, model->named_parameters()[name]);
  EXPECT_ERROR(run(model, "out", objective),
               concat("gradient norm nan; first not finite: the gradient of ", name));
}

TEST_F(TrainLoop, a_graph_asked_for_on_a_cpu_is_refused) {
  config_.cuda_graph = "on";
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  EXPECT_ERROR(run(model, "out", objective),
               "stage: cuda_graph: expected \"auto\" or \"off\" on device cpu, found \"on\"");
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

TEST_F(TrainLoop, a_state_without_a_number_of_steps_is_refused) {
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  std::filesystem::create_directories(folder_ / "out");
  for (const char* step : {"", "x", "3 ", "-1", "99999999999999999999"}) {
    write_safetensors(
        folder_ / "out/stage.state.safetensors", {{"w", torch::zeros({1})}},
        {{"step", step}, {"settings", Json({{"lr", config_.optimizer.peak_lr}}).dump()}});
    EXPECT_ERROR(run(model, "out", objective),
                 concat("step: expected a number of steps, found \"", step, "\""));
  }
}

TEST_F(TrainLoop, a_state_beyond_the_end_is_refused) {
  CausalLm model = new_model();
  CrossEntropyObjective objective(model);
  std::filesystem::create_directories(folder_ / "out");
  const std::string beyond = std::to_string(config_.steps + 1);
  write_safetensors(
      folder_ / "out/stage.state.safetensors", {{"w", torch::zeros({1})}},
      {{"step", beyond}, {"settings", Json({{"lr", config_.optimizer.peak_lr}}).dump()}});
  EXPECT_ERROR(run(model, "out", objective),
               concat("step: expected at most ", config_.steps, ", found ", beyond));
}

TEST_F(TrainLoop, sizes_that_make_no_sense_are_named) {
  config_.context = 0;
  EXPECT_ERROR(check_stage(config_, "r.json: align"),
               "r.json: align: context: expected a positive number, found 0");
  config_.context = 8, config_.precision = "float8";
  EXPECT_ERROR(check_stage(config_, "r.json"),
               "precision: expected \"float32\" or \"bfloat16\", found \"float8\"");
  config_.precision = "float32", config_.cuda_graph = "maybe";
  EXPECT_ERROR(check_stage(config_, "r.json"),
               "cuda_graph: expected \"auto\", \"on\" or \"off\", found \"maybe\"");
}

TEST(CrossEntropyObjective, trains_without_the_logits_scaling_that_the_config_names) {
  const Tensor tokens = torch::arange(33).view({1, 33});
  const Batch batch{tokens.slice(1, 0, 32), tokens.slice(1, 1),
                    torch::zeros({1, 32}, torch::kBool)};
  const auto loss = [&](const LogitsScaling& scaling) {
    ModelConfig config = tiny_hypenet_config();
    config.attn_logits_scaling = scaling;
    torch::manual_seed(3);
    return CrossEntropyObjective(CausalLm(config)).accumulate(batch, 1);
  };
  EXPECT_TRUE(torch::equal(loss({LogitsScaling::Kind::kLogPosition, 500}), loss({})));
}

}  // namespace
}  // namespace hypenet
