// Measures on hand-made scores, and the rows that are scored.
#include "eval/measures.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <regex>

#include "engine/engine.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

Tokenizer tiny_tokenizer() {
  return Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models/tiny-teacher");
}

std::vector<int32_t> numbers(int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(i % 60));
  return ids;
}

RowScores hand_made_scores() {
  return {{{-1.0F, true}, {-3.0F, true}}, {{-0.5F, true}, {-1.5F, false}, {-4.0F, false}}};
}

TEST(MeasuresTest, shares_and_perplexity_of_hand_made_scores) {
  const RowScores scores = hand_made_scores();
  EXPECT_DOUBLE_EQ(exact_share(scores), 0.5);
  EXPECT_DOUBLE_EQ(greedy_share(scores), 0.6);
  EXPECT_DOUBLE_EQ(perplexity(scores), std::exp(10.0 / 5));
}

TEST(MeasuresTest, share_error_is_that_of_a_binomial) {
  EXPECT_DOUBLE_EQ(share_error(0.5, 100), 0.05);
  EXPECT_DOUBLE_EQ(share_error(1, 48), 0);
}

TEST(MeasuresTest, nothing_scored_is_an_error) {
  EXPECT_ERROR(exact_share({}), "expected scored rows");
  EXPECT_ERROR(greedy_share({}), "expected scored tokens");
  EXPECT_ERROR(perplexity({}), "expected scored tokens");
}

TEST(MeasuresTest, likelihoods_that_are_not_finite_are_an_error) {
  for (const float wrong : {std::nanf(""), -INFINITY}) {
    RowScores scores = hand_made_scores();
    scores[1][2].logprob = wrong;
    EXPECT_ERROR(exact_share(scores), "exact share: log-likelihood of a token: expected a finite");
    EXPECT_ERROR(greedy_share(scores), "next-token accuracy: log-likelihood of a token: expected");
    EXPECT_ERROR(perplexity(scores), "perplexity: log-likelihood of a token: expected a finite");
  }
}

TEST(MeasuresTest, windows_predict_each_token_once) {
  const auto rows = text_rows(numbers(10), 3, 100);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_THAT(rows[0].ids, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(rows[1].ids, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(rows[2].ids, ElementsAre(6, 7, 8, 9));
  for (const auto& row : rows) EXPECT_EQ(row.first_scored, 1);
}

TEST(MeasuresTest, few_windows_are_spread_over_the_text) {
  const auto rows = text_rows(numbers(41), 4, 2);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].ids.front(), 0);
  EXPECT_EQ(rows[1].ids.front(), 20);
}

TEST(MeasuresTest, text_too_short_for_a_window_is_an_error) {
  EXPECT_EQ(text_rows(numbers(5), 4, 9).size(), 1U);
  EXPECT_ERROR(text_rows(numbers(4), 4, 9), "expected a text of at least 5 tokens, found 4");
  EXPECT_ERROR(text_rows({}, 4, 9), "found 0");
}

TEST(MeasuresTest, perplexity_equals_a_plain_computation) {
  torch::manual_seed(1);
  CausalLm model(testing_support::tiny_hypenet_config());
  const std::vector<int32_t> text = numbers(33);
  const double measured = perplexity(Engine(model).score(text_rows(text, 8, 100)));

  const torch::NoGradGuard no_grad;
  double sum = 0;
  for (int64_t begin = 0; begin < 32; begin += 8) {
    const Tensor ids = torch::tensor(text).to(torch::kInt64).slice(0, begin, begin + 9);
    const Tensor logits = model->forward(ids.slice(0, 0, 8).unsqueeze(0))[0];
    const Tensor logprobs = torch::log_softmax(logits.to(torch::kFloat64), -1);
    for (int64_t i = 0; i < 8; ++i) sum -= logprobs[i][ids[i + 1].item<int64_t>()].item<double>();
  }
  EXPECT_NEAR(measured, std::exp(sum / 32), 1e-3);
}

TEST(MeasuresTest, recall_rows_ask_for_a_fact_they_hold) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const NeedleTask task(tokenizer);
  const auto prose =
      tokenizer.encode("It was a dark and stormy night; the rain fell in torrents. ");
  const RecallOptions options{.context = 200, .needles = 4, .prompts = 6, .seed = 3};
  const auto rows = recall_rows(task, prose, options);
  ASSERT_EQ(rows.size(), 6U);
  const std::regex question(R"( Question: the magic number for (\w+) is (\d{4})$)");
  for (const ScoredRow& row : rows) {
    ASSERT_EQ(row.ids.size(), 200U);
    EXPECT_EQ(row.first_scored, 196);
    const std::string text = tokenizer.decode(row.ids);
    std::smatch match;
    ASSERT_TRUE(std::regex_search(text, match, question)) << text;
    const std::string fact = concat(" The magic number for ", match[1], " is ", match[2], ".");
    EXPECT_NE(text.find(fact), std::string::npos) << text;
  }
}

TEST(MeasuresTest, recall_rows_are_a_function_of_the_seed) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const NeedleTask task(tokenizer);
  const auto rows = [&](uint64_t seed) {
    return recall_rows(task, numbers(50),
                       {.context = 150, .needles = 2, .prompts = 2, .seed = seed});
  };
  EXPECT_EQ(rows(1)[1].ids, rows(1)[1].ids);
  EXPECT_NE(rows(1)[1].ids, rows(2)[1].ids);
  EXPECT_NE(rows(1)[0].ids, rows(1)[1].ids);
}

TEST(MeasuresTest, recall_without_prose_is_an_error) {
  const Tokenizer tokenizer = tiny_tokenizer();
  EXPECT_ERROR(recall_rows(NeedleTask(tokenizer), {}, {}), "recall: expected prose");
}

}  // namespace
}  // namespace hypenet
