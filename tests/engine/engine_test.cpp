// Scores against a plain float64 computation, generation against repeated full forwards.
#include "engine/engine.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/random.h"
#include "engine/score.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing::ElementsAreArray;
using testing_support::tiny_hypenet_config;
using testing_support::tiny_teacher_config;

/// A model whose logits spread far enough for clear choices.
CausalLm random_model(const ModelConfig& config) {
  torch::manual_seed(5);
  CausalLm model(config);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) {
    if (parameter.dim() > 1) parameter.mul_(8);
  }
  return model;
}

ModelConfig scaled_hypenet_config() {
  ModelConfig config = tiny_hypenet_config();
  config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 4};
  return config;
}

std::vector<int32_t> random_ids(int64_t length, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random.below(64)));
  return ids;
}

Tensor full_logits(CausalLm& model, const std::vector<int32_t>& ids) {
  const torch::NoGradGuard no_grad;
  return model->forward(torch::tensor(ids).to(torch::kInt64).unsqueeze(0))[0];
}

std::vector<ScoredRow> some_rows() {
  std::vector<ScoredRow> rows;
  for (const auto& [length, first] :
       std::vector<std::pair<int64_t, int64_t>>{{7, 1}, {12, 9}, {7, 3}, {2, 1}, {7, 6}, {30, 1}}) {
    rows.push_back({random_ids(length, rows.size()), first});
  }
  // Choices of one question, one of them twice, and a row that ends inside the question.
  const std::vector<int32_t> question = random_ids(20, 99);
  for (const int64_t choice : {3, 1, 1}) {
    ScoredRow row{question, 20};
    for (const int32_t id : random_ids(choice, 100)) row.ids.push_back(id);
    rows.push_back(std::move(row));
  }
  rows.push_back({{question.begin(), question.begin() + 12}, 9});
  return rows;
}

class EngineTest : public testing::TestWithParam<ModelConfig> {};

TEST_P(EngineTest, scores_are_log_softmax_for_any_batching) {
  CausalLm model = random_model(GetParam());
  Engine engine(model);
  const auto rows = some_rows();
  for (const int64_t batch_tokens : {1, 14, 8192}) {
    const RowScores scores = engine.score(rows, {.batch_tokens = batch_tokens});
    ASSERT_EQ(scores.size(), rows.size());
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto& [ids, first] = rows[row];
      const Tensor logits = full_logits(model, ids).to(torch::kFloat64);
      const Tensor logprobs = torch::log_softmax(logits, -1);
      ASSERT_EQ(scores[row].size(), ids.size() - static_cast<size_t>(first));
      for (size_t i = 0; i < scores[row].size(); ++i) {
        const int64_t place = first + static_cast<int64_t>(i) - 1;
        const int64_t id = ids[static_cast<size_t>(place + 1)];
        EXPECT_NEAR(scores[row][i].logprob, logprobs[place][id].item<double>(), 2e-4);
        EXPECT_EQ(scores[row][i].greedy, logits[place].argmax().item<int64_t>() == id);
      }
    }
  }
}

TEST_P(EngineTest, generation_equals_repeated_full_forwards) {
  CausalLm model = random_model(GetParam());
  Engine engine(model);
  const std::vector<int32_t> prompt = random_ids(11, 1);
  std::vector<int32_t> expected, ids = prompt;
  for (int i = 0; i < 12; ++i) {
    const auto next = static_cast<int32_t>(full_logits(model, ids)[-1].argmax().item<int64_t>());
    expected.push_back(next);
    ids.push_back(next);
  }
  GenerateOptions options;
  options.max_tokens = 12;
  EXPECT_THAT(engine.generate(prompt, options), ElementsAreArray(expected));
}

std::string model_name(const testing::TestParamInfo<ModelConfig>& info) {
  constexpr const char* kNames[] = {"teacher", "hypenet", "scaled_hypenet"};
  return kNames[info.index];
}

INSTANTIATE_TEST_SUITE_P(models, EngineTest,
                         testing::Values(tiny_teacher_config(), tiny_hypenet_config(),
                                         scaled_hypenet_config()),
                         model_name);

TEST(GenerateAndScoreTest, a_greedy_continuation_scores_as_greedy) {
  Engine engine(random_model(tiny_hypenet_config()));
  ScoredRow row{random_ids(9, 2), 9};
  for (const int32_t id : engine.generate(row.ids, {})) row.ids.push_back(id);
  const RowScores scores = engine.score(std::vector{row});
  ASSERT_EQ(scores[0].size(), 128U);
  for (const TokenScore& token : scores[0]) EXPECT_TRUE(token.greedy);
}

TEST(GenerateAndScoreTest, logits_scaling_of_the_config_is_on) {
  CausalLm model = random_model(scaled_hypenet_config());
  const Tensor plain = full_logits(model, random_ids(9, 3));
  const Engine engine(model);
  EXPECT_GT((full_logits(model, random_ids(9, 3)) - plain).abs().max().item<float>(), 1e-3);
}

TEST(GenerateAndScoreTest, a_large_vocabulary_is_scored_in_pieces) {
  ModelConfig config = tiny_teacher_config();
  config.vocab_size = int64_t{1} << 19;  // 32 positions a piece
  config.hidden_size = 8, config.num_hidden_layers = 1;
  config.mixer_types.resize(1);
  CausalLm model = random_model(config);
  const ScoredRow row{random_ids(35, 4), 1};
  const Tensor logprobs = torch::log_softmax(full_logits(model, row.ids), -1);
  const auto scores = Engine(model).score(std::vector{row})[0];
  ASSERT_EQ(scores.size(), 34U);
  for (int64_t i = 0; i < 34; ++i) {
    const auto place = static_cast<size_t>(i);
    EXPECT_NEAR(scores[place].logprob, logprobs[i][row.ids[place + 1]].item<float>(), 1e-3);
  }
}

TEST(GenerateAndScoreTest, generation_ends_before_a_stop_id) {
  Engine engine(random_model(tiny_teacher_config()));
  const std::vector<int32_t> prompt = random_ids(5, 6);
  GenerateOptions options;
  options.max_tokens = 10;
  const std::vector<int32_t> all = engine.generate(prompt, options);
  ASSERT_EQ(all.size(), 10U);
  options.stop_ids = {all[4]};
  const auto first = std::find(all.begin(), all.end(), all[4]);
  EXPECT_THAT(engine.generate(prompt, options),
              ElementsAreArray(std::vector<int32_t>(all.begin(), first)));
}

TEST(GenerateAndScoreTest, on_token_sees_every_id_and_can_stop) {
  Engine engine(random_model(tiny_teacher_config()));
  std::vector<int32_t> seen;
  const auto generated = engine.generate(random_ids(5, 6), {}, [&](int32_t id) {
    seen.push_back(id);
    return seen.size() < 3;
  });
  EXPECT_EQ(generated.size(), 3U);
  EXPECT_EQ(generated, seen);
}

TEST(GenerateAndScoreTest, scoring_records_no_graph) {
  CausalLm model = random_model(tiny_hypenet_config());
  const HiddenVariants variants = [&](const TokenTree& tree, const auto& emit) {
    const Tensor hidden = model->hidden(tree);
    EXPECT_FALSE(hidden.requires_grad());
    emit(hidden);
  };
  EXPECT_FALSE(score_variants(model, some_rows(), variants).empty());
  EXPECT_TRUE(model->hidden(torch::zeros({1, 3}, torch::kInt64)).requires_grad()) << "afterwards";
}

TEST(GenerateAndScoreTest, bad_rows_and_prompts_are_errors) {
  Engine engine(random_model(tiny_teacher_config()));
  EXPECT_ERROR(engine.score(std::vector<ScoredRow>{{{1, 2, 3}, 3}}),
               "score: first_scored: expected 1 to 2 in a row of 3 tokens, found 3");
  EXPECT_ERROR(engine.score(std::vector<ScoredRow>{{{1, 2, 3}, 0}}), "found 0");
  EXPECT_ERROR(engine.score(std::vector<ScoredRow>{{{1, 64, 3}, 1}}),
               "score: expected ids from 0 to 63, found 64");
  EXPECT_ERROR(engine.generate(std::vector<int32_t>(), {}),
               "expected a prompt of at least one token");
  EXPECT_ERROR(engine.generate(std::vector<int32_t>{-1}, {}), "from 0 to 63, found -1");
}

}  // namespace
}  // namespace hypenet
