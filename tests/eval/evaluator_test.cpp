// The evaluator on a small model with random weights: plain definitions, any batching, journals.
#include "eval/evaluator.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

CausalLm tiny_model() {
  torch::manual_seed(3);
  ModelConfig config = testing_support::tiny_hypenet_config();
  config.vocab_size = 264;
  return CausalLm(config);
}

Tokenizer byte_tokenizer() {
  const TemporaryFolder folder;
  testing_support::write_byte_tokenizer(folder.path());
  return Tokenizer::load(folder.path());
}

std::vector<EvalRequest> requests() {
  std::vector<EvalRequest> all;
  for (const std::string question : {"What shines at night?", "Where do fish live, if not on land?",
                                     "Who wrote this?", "Where"}) {
    for (const std::string choice : {" the moon", " the sea", " x", " the moonlight"}) {
      all.push_back({.context = question, .continuation = choice});
    }
    all.push_back({.kind = RequestKind::kGenerate,
                   .context = question,
                   .until = {"\n", "~"},
                   .max_tokens = 4 + static_cast<int64_t>(all.size())});
  }
  EvalRequest page;
  page.kind = RequestKind::kRolling;
  page.context = concat(std::string(150, 'a'), " long page");
  all.push_back(page);
  all.push_back({.context = "", .continuation = "no context"});
  return all;
}

struct Setting {
  EngineOptions engine = {};
  EvaluatorOptions options = {.max_length = 64};
  int64_t batch_tokens = 0;
};

std::vector<EvalAnswer> run(const std::vector<EvalRequest>& asked, const Setting& setting = {},
                            const std::function<void(const EvaluationProgress&)>& report = {}) {
  Engine engine(tiny_model(), setting.engine);
  const Tokenizer tokenizer = byte_tokenizer();
  ModelRespondent model(engine, setting.batch_tokens);
  return Evaluator(model, tokenizer, setting.options).answer(asked, report).front();
}

void expect_near(const std::vector<EvalAnswer>& found, const std::vector<EvalAnswer>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].loglikelihood, expected[i].loglikelihood, 1e-3) << i;
    EXPECT_EQ(found[i].is_greedy, expected[i].is_greedy) << i;
    EXPECT_EQ(found[i].text, expected[i].text) << i;
  }
}

void expect_equal(const std::vector<EvalAnswer>& found, const std::vector<EvalAnswer>& expected) {
  expect_near(found, expected);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].loglikelihood, expected[i].loglikelihood) << i;
  }
}

TEST(EvaluatorTest, likelihoods_equal_a_plain_computation) {
  const auto asked = requests();
  const auto answers = run(asked);
  const Tokenizer tokenizer = byte_tokenizer();
  const torch::NoGradGuard no_grad;
  CausalLm model = tiny_model();
  model->prepare({.logits_scaling = model->config().attn_logits_scaling});
  for (size_t i = 0; i < asked.size(); ++i) {
    double sum = 0;
    bool is_greedy = asked[i].kind != RequestKind::kGenerate;
    for (const ScoredRow& row : encode_request(tokenizer, asked[i], 64).parts) {
      const Tensor ids = torch::tensor(row.ids).to(torch::kInt64);
      const Tensor logits = model->forward(ids.unsqueeze(0))[0].to(torch::kFloat64);
      const Tensor logprobs = logits.log_softmax(-1);
      for (auto t = row.first_scored; t < ids.size(0); ++t) {
        sum += logprobs[t - 1][ids[t]].item<double>();
        is_greedy &= logits[t - 1].argmax().item<int64_t>() == ids[t].item<int64_t>();
      }
    }
    EXPECT_NEAR(answers[i].loglikelihood, sum, 1e-3) << i;
    EXPECT_EQ(answers[i].is_greedy, is_greedy) << i;
  }
}

TEST(EvaluatorTest, answers_equal_the_engines_own) {
  const auto asked = requests();
  const auto answers = run(asked);
  const Tokenizer tokenizer = byte_tokenizer();
  Engine engine(tiny_model());
  for (size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].kind != RequestKind::kGenerate) continue;
    GenerateOptions options;
    options.max_tokens = asked[i].max_tokens;
    options.stop_ids = {256};
    const auto ids = engine.generate(tokenizer.encode(asked[i].context), options);
    const std::string whole = tokenizer.decode(ids, true);
    EXPECT_EQ(answers[i].text, cut_answer(whole, asked[i].until));
  }
}

TEST(EvaluatorTest, a_stop_string_ends_an_answer_early) {
  const EvalRequest free = {
      .kind = RequestKind::kGenerate, .context = "Once upon", .max_tokens = 40};
  const std::string whole = run({free})[0].text;
  ASSERT_GT(whole.size(), 12U);
  EvalRequest stopped = free;
  stopped.until = {"never", whole.substr(6, 4)};  // four tokens of this tokenizer
  Engine engine(tiny_model());
  const Tokenizer tokenizer = byte_tokenizer();
  ModelRespondent model(engine);
  Evaluator evaluator(model, tokenizer, {.max_length = 64});
  EXPECT_EQ(evaluator.answer({&stopped, 1}, {})[0][0].text,
            whole.substr(0, whole.find(stopped.until[1])));
  EXPECT_LT(engine.stats().decoded_tokens, 12);
  EXPECT_TRUE(engine.is_idle());
}

TEST(EvaluatorTest, answers_are_the_same_for_any_batch_chunk_and_order) {
  auto asked = requests();
  const auto expected = run(asked);
  for (const int64_t tokens : {1, 50, 100000}) {
    expect_near(run(asked, {.batch_tokens = tokens}), expected);
  }
  expect_near(run(asked, {.engine = {.max_sequences = 1, .prefill_chunk = 5}}), expected);
  expect_near(run(asked, {.engine = {.max_sequences = 3, .prefill_chunk = 1}}), expected);
  std::reverse(asked.begin(), asked.end());
  auto reversed = run(asked);
  std::reverse(reversed.begin(), reversed.end());
  expect_near(reversed, expected);
  for (size_t i = 0; i < expected.size(); i += 7) {
    expect_near(run({requests()[i]}), {expected[i]});
  }
}

TEST(EvaluatorTest, equal_requests_run_once) {
  auto asked = requests();
  const size_t once = asked.size();
  asked.insert(asked.end(), asked.begin(), asked.begin() + 8);
  EvaluationProgress last;
  const auto answers = run(asked, {}, [&](const EvaluationProgress& progress) { last = progress; });
  EXPECT_EQ(last.total(), static_cast<int64_t>(once));
  EXPECT_EQ(last.generated.total, 4);
  for (const KindProgress& kind : {last.scored, last.generated}) {
    EXPECT_EQ(kind.done, kind.total);
    EXPECT_EQ(kind.tokens_done, kind.tokens_total);
  }
  for (size_t i = 0; i < 8; ++i) expect_equal({answers[once + i]}, {answers[i]});
}

TEST(EvaluatorTest, a_resumed_run_gives_what_an_uninterrupted_one_gives) {
  const TemporaryFolder folder;
  Setting kept;
  kept.options.journal = folder / "journal";
  const auto asked = requests();
  const auto expected = run(asked);
  const auto total = static_cast<int64_t>(asked.size());
  for (const int64_t most : {5, 11, 20}) {
    const auto stop = [&](const EvaluationProgress& progress) {
      if (progress.done() >= most && progress.done() < total) throw Error("stop");
    };
    EXPECT_ERROR(run(asked, kept, stop), "stop");
    int64_t first = -1;
    const auto resumed = [&](const EvaluationProgress& progress) {
      if (first < 0 && progress.total() > 0) first = progress.done();
      if (progress.done() > most && progress.done() < total) throw Error("stop again");
    };
    if (most + 1 < total) {
      EXPECT_ERROR(run(asked, kept, resumed), "stop again");
      EXPECT_GE(first, most);
    }
  }
  expect_near(run(asked, kept), expected);
  int64_t known = -1;
  const auto again = run(asked, kept, [&](const EvaluationProgress& progress) {
    if (known < 0 && progress.total() > 0) known = progress.done();
  });
  EXPECT_EQ(known, total) << "nothing is left to run";
  expect_near(again, expected);
}

TEST(EvaluatorTest, a_journal_serves_other_lists_of_the_same_requests) {
  const TemporaryFolder folder;
  Setting kept;
  kept.options.journal = folder / "journal";
  const auto asked = requests();
  const auto expected = run({asked.begin(), asked.begin() + 10}, kept);
  int64_t known = -1;
  const auto more = run(asked, kept, [&](const EvaluationProgress& progress) {
    if (known < 0 && progress.total() > 0) known = progress.done();
  });
  EXPECT_EQ(known, 10);
  expect_equal({more.begin(), more.begin() + 10}, expected);
}

TEST(EvaluatorTest, a_journal_of_other_answers_is_refused) {
  const TemporaryFolder folder;
  Setting kept;
  kept.options.journal = folder / "journal";
  run(requests(), kept);
  kept.options.identity = {{"config", 2}};
  EXPECT_ERROR(run(requests(), kept), "answers of another model");
}

TEST(EvaluatorTest, sums_in_bf16_are_those_of_torch) {
  const std::vector<EvalRequest> asked = {{.context = "Where do", .continuation = " fish live?"}};
  const double exact = run(asked)[0].loglikelihood;
  Setting coarse;
  coarse.options.sums_in_bf16 = true;
  const double rounded = run(asked, coarse)[0].loglikelihood;
  const torch::NoGradGuard no_grad;
  CausalLm model = tiny_model();
  const auto row = encode_request(byte_tokenizer(), asked[0], 64).parts[0];
  const Tensor ids = torch::tensor(row.ids).to(torch::kInt64);
  const Tensor logprobs = model->forward(ids.unsqueeze(0))[0].log_softmax(-1);
  const Tensor chosen = logprobs.slice(0, 0, -1).gather(1, ids.slice(0, 1).unsqueeze(1));
  const Tensor sum = chosen.slice(0, row.first_scored - 1).to(torch::kBFloat16).sum();
  EXPECT_EQ(rounded, sum.item<double>());
  EXPECT_NE(rounded, exact);
  EXPECT_NEAR(rounded, exact, std::abs(exact) * 0x1p-7);
}

TEST(EvaluatorTest, weights_that_overflow_are_an_error) {
  CausalLm model = tiny_model();
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : model->parameters()) parameter.fill_(std::nan(""));
  }
  Engine engine(model);
  const Tokenizer tokenizer = byte_tokenizer();
  ModelRespondent respondent(engine);
  Evaluator evaluator(respondent, tokenizer, {.max_length = 64});
  const auto asked = requests();
  EXPECT_ERROR(evaluator.answer({asked.data(), 1}, {}), "expected a finite number, found nan");
  EXPECT_ERROR(evaluator.answer({asked.data() + 4, 1}, {}), "expected finite numbers, found nan");
  EXPECT_TRUE(engine.is_idle());
}

}  // namespace
}  // namespace hypenet
