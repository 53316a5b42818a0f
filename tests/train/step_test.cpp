// A training step replayed from a CUDA graph is the step run call by call.
#include "train/step.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "tests/support/tiny_model.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

constexpr torch::DeviceType kCuda = torch::kCUDA;

struct StepCase {
  const char* name;
  std::string precision;
  bool activation_checkpointing;
  LogitsScaling logits_scaling = {};
};

void PrintTo(const StepCase& c, std::ostream* out) { *out << c.name; }

/// Notes of a run, one a line.
class Notes : public Observer {
 public:
  void on_step(const StepReport& /*report*/) override {}
  void on_note(const std::string& text) override { notes += text + "\n"; }
  void on_progress(const std::string& /*stage*/, int64_t /*done*/, int64_t /*total*/) override {}
  std::string notes;
};

/// The answers of the batches here.
Tensor answers_of(const Tensor& targets) { return targets.remainder(3).eq(1); }

/// Cross-entropy that counts the places where the answers it is given are not those of its rows.
class CountingObjective : public CrossEntropyObjective {
 public:
  CountingObjective(CausalLm model, torch::Device device)
      : CrossEntropyObjective(std::move(model)), strays_(torch::zeros({}, device)) {}
  Tensor accumulate(const Batch& batch, double weight) override {
    strays_ += batch.answers.ne(answers_of(batch.targets)).sum();
    return CrossEntropyObjective::accumulate(batch, weight);
  }
  double strays() const { return strays_.item<double>(); }

 private:
  Tensor strays_;
};

/// A tiny HypeNet in training on random batches, two micro-batches a step.
class Training {
 public:
  Training(const StepCase& step_case, const std::string& cuda_graph, torch::Device device)
      : model_(new_model()), objective_(model_, device) {
    job_.stage = "stage", job_.device = device, job_.observer = &notes_;
    job_.config.sequences = 4, job_.config.micro_sequences = 2, job_.config.context = 24;
    job_.config.precision = step_case.precision, job_.config.cuda_graph = cuda_graph;
    model_->to(device);
    job_.config.activation_checkpointing = step_case.activation_checkpointing;
    job_.config.attn_logits_scaling = step_case.logits_scaling;
    model_->prepare(job_.config.compute_plan());
    job_.parameters = trainable_parameters(model_);
    job_.after_update = [this] { model_->refresh_compute_copies(); };
    optimizer_ = std::make_unique<AdamW>(job_.parameters, job_.config.optimizer);
    step_ = std::make_unique<TrainStep>(job_, objective_, *optimizer_);
  }

  /// The losses and norms of so many steps, each read after the next one was queued.
  std::vector<double> run(int64_t steps) {
    std::vector<double> numbers;
    for (int64_t i = 0; i < steps; ++i) {
      step_->run(batch(i), 1e-2 / static_cast<double>(i + 1));
      if (i > 0) add(numbers, step_->numbers(1));
    }
    add(numbers, step_->numbers(0));
    return numbers;
  }

  TrainStep& step() { return *step_; }
  CausalLm& model() { return model_; }
  double stray_answers() const { return objective_.strays(); }
  const std::string& notes() const { return notes_.notes; }

 private:
  static CausalLm new_model() {
    torch::manual_seed(3);
    return CausalLm(testing_support::tiny_hypenet_config());
  }
  static Batch batch(int64_t step) {
    torch::manual_seed(step);
    const Tensor targets = torch::randint(64, {4, 24}, torch::kInt64);
    return {torch::randint(64, {4, 24}, torch::kInt64), targets, answers_of(targets)};
  }
  static void add(std::vector<double>& numbers, const StepNumbers& found) {
    numbers.push_back(found.loss), numbers.push_back(found.gradient_norm);
  }

  CausalLm model_;
  CountingObjective objective_;
  Notes notes_;
  TrainJob job_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<TrainStep> step_;
};

class RecordedStep : public testing::TestWithParam<StepCase> {};

TEST_P(RecordedStep, is_the_step_run_call_by_call) {
  if (!can_capture(kCuda) || !torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  Training eager(GetParam(), "off", {kCuda, 0}), recorded(GetParam(), "on", {kCuda, 0});
  const std::vector<double> expected = eager.run(8), found = recorded.run(8);
  EXPECT_FALSE(eager.step().is_recorded());
  EXPECT_TRUE(recorded.step().is_recorded());
  EXPECT_EQ(recorded.stray_answers(), 0) << "each step and micro-batch has its own answers";
  // Sums by atomics (the embedding's gradient) may come in another order.
  const double tolerance = GetParam().precision == "bfloat16" ? 2e-2 : 1e-4;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], tolerance * std::max(1.0, expected[i])) << "number " << i;
  }
}

TEST_P(RecordedStep, stays_where_it_was_after_a_number_that_is_not_finite) {
  if (!can_capture(kCuda) || !torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  Training training(GetParam(), "on", {kCuda, 0});
  training.run(5);
  const auto weight = training.model()->named_parameters()["model.norm.weight"];
  {
    const torch::NoGradGuard no_grad;
    weight.fill_(std::nanf(""));
    training.model()->refresh_compute_copies();
  }
  torch::cuda::synchronize();
  std::vector<Tensor> before;
  for (const auto& parameter : training.model()->parameters()) before.push_back(parameter.clone());
  torch::cuda::synchronize();
  EXPECT_FALSE(std::isfinite(training.run(2).back()));
  for (size_t i = 0; const auto& parameter : training.model()->parameters()) {
    EXPECT_TRUE(torch::allclose(parameter, before[i++], 0, 0, /*equal_nan=*/true));
  }
}

INSTANTIATE_TEST_SUITE_P(
    cases, RecordedStep,
    testing::Values(StepCase{"float32", "float32", false}, StepCase{"bfloat16", "bfloat16", false},
                    StepCase{"checkpointed", "bfloat16", true},
                    StepCase{"scaled", "bfloat16", false, {LogitsScaling::Kind::kLogPosition, 20}}),
    [](const auto& info) { return info.param.name; });

TEST(TrainStep, on_a_cpu_runs_without_a_graph) {
  Training training({"", "float32", false}, "auto", torch::kCPU);
  const std::vector<double> numbers = training.run(6);
  EXPECT_EQ(numbers.size(), 12U);
  EXPECT_LT(numbers[10], numbers[0] + 0.5);
  EXPECT_FALSE(training.step().is_recorded());
  EXPECT_EQ(training.notes(), "");
  EXPECT_EQ(training.stray_answers(), 0) << "each step and micro-batch has its own answers";
}

}  // namespace
}  // namespace hypenet
