// A folder becomes a model in the types that were asked for, or in its own.
#include "engine/open.h"

#include <gtest/gtest.h>

#include "engine/runner.h"
#include "model/weights.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

std::filesystem::path folder() {
  return std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher";
}

TEST(Open, stored_bfloat16_stays_beside_float32_arithmetic_on_a_cpu) {
  CausalLm model = open_model(Checkpoint(folder()), {});
  EXPECT_EQ(model->head_weight().scalar_type(), torch::kBFloat16);
  EXPECT_EQ(model->compute_type(), torch::kFloat32);
  model = open_model(Checkpoint(folder()), {.type = torch::kFloat64});
  EXPECT_EQ(model->head_weight().scalar_type(), torch::kFloat64);
  EXPECT_EQ(model->compute_type(), torch::kFloat64);
}

TEST(Open, an_engine_runs_with_the_scaling_that_was_asked_for) {
  const LogitsScaling scaling{LogitsScaling::Kind::kConstant, 3};
  Engine plain = open_engine(folder());
  Engine scaled = open_engine(folder(), {.attn_logits_scaling = scaling}, {.max_sequences = 2});
  EXPECT_EQ(scaled.config().attn_logits_scaling, scaling);
  const std::vector<ScoredRow> rows = {{{5, 6, 7, 8, 9}, 1}};
  EXPECT_NE(scaled.score(rows)[0][3].logprob, plain.score(rows)[0][3].logprob);
  EXPECT_EQ(plain.generate(std::vector<int32_t>{5, 6}, {}).size(), 128U);
}

/// Greedy answers, and scores of them, are what whole forwards say of the same tokens.
TEST(Open, published_hybrids_generate_and_score_as_their_forward_does) {
  for (const char* name : {"qwen3-next", "qwen3.5", "kimi-linear", "fla-gated-deltanet"}) {
    const auto hybrid = std::filesystem::path(HYPENET_TEST_DATA) / "models" / name;
    CausalLm model = load_model(Checkpoint(hybrid), torch::kFloat32);
    Engine engine = open_engine(hybrid, {.type = torch::kFloat32});
    std::vector<int64_t> ids = {5, 6, 7, 8, 9, 10, 11};
    const std::vector<int32_t> prompt(ids.begin(), ids.end());
    const torch::NoGradGuard no_grad;
    GenerateOptions options;
    options.max_tokens = 12;
    for (const int32_t id : engine.generate(prompt, options)) {
      const Tensor last = model(torch::tensor(ids).unsqueeze(0))[0][-1];
      EXPECT_EQ(id, last.argmax().item<int64_t>()) << name << " after " << ids.size();
      ids.push_back(id);
    }
    const std::vector<ScoredRow> rows = {{std::vector<int32_t>(ids.begin(), ids.end()), 1}};
    const Tensor logprobs = model(torch::tensor(ids).unsqueeze(0))[0].log_softmax(-1);
    const std::vector<TokenScore> scores = engine.score(rows)[0];
    ASSERT_EQ(scores.size() + 1, ids.size());
    for (size_t t = 0; t < scores.size(); ++t) {
      const double expected = logprobs[static_cast<int64_t>(t)][ids[t + 1]].item<double>();
      EXPECT_NEAR(scores[t].logprob, expected, 1e-4) << name << " at " << t;
    }
  }
}

TEST(Open, what_no_kernel_of_a_gpu_runs_is_known) {
  ModelConfig config = testing_support::tiny_hypenet_config();
  CausalLm model(config);
  EXPECT_EQ(why_no_step_kernels(model), "kernels compute in bfloat16, this model in float32");
  model->prepare({.type = torch::kBFloat16});
  EXPECT_EQ(why_no_step_kernels(model),
            "there are no kernels for lightning-attn layers of these sizes");
  config.head_dim = config.mixers.of<LightningConfig>().head_dim = 64;
  CausalLm usual(config);
  usual->prepare({.type = torch::kBFloat16});
  EXPECT_EQ(why_no_step_kernels(usual), std::nullopt);
}

TEST(Open, types_have_names) {
  EXPECT_EQ(type_name(torch::kBFloat16), "bfloat16");
  EXPECT_EQ(type_name(torch::kInt64), "int64");
}

}  // namespace
}  // namespace hypenet
