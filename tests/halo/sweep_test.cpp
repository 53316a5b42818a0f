// The sweep against a plain evaluation of models with one layer replaced.
#include "halo/sweep.h"

#include <gmock/gmock.h>
#include <torch/cuda.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "base/files.h"
#include "base/random.h"
#include "engine/engine.h"
#include "eval/evaluator.h"
#include "eval/measures.h"
#include "halo/variant_answers.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/twins.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing_support::new_twins;
using testing_support::replaced_model;
using testing_support::spread_model;

constexpr int64_t kLayers = 3;

ModelConfig teacher_config() {
  ModelConfig config = testing_support::tiny_teacher_config();
  config.num_hidden_layers = kLayers;
  config.mixer_types.assign(kLayers, &kAttentionMixer);
  config.vocab_size = testing_support::kByteTokens;
  config.max_position_embeddings = 512;
  return config;
}

class Sweep : public testing::Test {
 protected:
  void SetUp() override { testing_support::write_byte_tokenizer(folder_.path()); }

  Tokenizer tokenizer() const { return Tokenizer::load(folder_.path()); }
  CausalLm plain(int64_t variant) { return replaced_model(teacher_, twins_, variant - 1); }

  TemporaryFolder folder_;
  CausalLm teacher_ = spread_model(teacher_config(), 5);
  CausalLm twins_ = new_twins(teacher_, 6);
  LayerVariants variants_{teacher_, twins_};
  OneProcess alone_;
};

std::vector<int32_t> random_ids(int64_t length, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random.below(256)));
  return ids;
}

/// Questions of three rows that begin alike, and a row alone.
std::vector<ScoredRow> some_rows() {
  std::vector<ScoredRow> rows;
  for (uint64_t question = 0; question < 4; ++question) {
    const auto context = random_ids(10 + 9 * static_cast<int64_t>(question), question);
    for (uint64_t choice = 0; choice < 3; ++choice) {
      ScoredRow row{context, static_cast<int64_t>(context.size())};
      const auto end = random_ids(2 + static_cast<int64_t>(choice), 100 + choice);
      row.ids.insert(row.ids.end(), end.begin(), end.end());
      rows.push_back(std::move(row));
    }
  }
  rows.push_back({random_ids(70, 50), 1});
  return rows;
}

TEST_F(Sweep, likelihoods_are_those_of_the_teacher_with_one_layer_replaced) {
  const auto rows = some_rows();
  const auto scores = score_variants(teacher_, rows, variants_.hidden(), {.batch_tokens = 64});
  ASSERT_EQ(scores.size(), kLayers + 1U);
  for (size_t variant = 0; variant < scores.size(); ++variant) {
    Engine engine(plain(static_cast<int64_t>(variant)));
    const RowScores expected = engine.score(rows);
    for (size_t row = 0; row < rows.size(); ++row) {
      for (size_t i = 0; i < expected[row].size(); ++i) {
        EXPECT_NEAR(scores[variant][row][i].logprob, expected[row][i].logprob, 1e-4);
        EXPECT_EQ(scores[variant][row][i].greedy, expected[row][i].greedy);
      }
    }
  }
}

TEST_F(Sweep, a_variant_is_the_model_with_one_layer_replaced) {
  const Tensor ids = torch::tensor(random_ids(20, 1)).to(torch::kInt64).unsqueeze(0);
  const torch::NoGradGuard no_grad;
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    const Tensor expected = plain(variant)->forward(ids);
    EXPECT_TRUE(torch::allclose(variants_.model(variant)->forward(ids), expected, 1e-4, 1e-4));
  }
}

Request request(int64_t length, int64_t max_tokens) {
  Request request{random_ids(length, 7 + static_cast<uint64_t>(length)), {}};
  request.options.max_tokens = max_tokens;
  return request;
}

std::vector<Request> some_requests_of_ids() {
  std::vector<Request> requests;
  for (const int64_t length : {130, 65, 64, 63, 20, 1}) {
    requests.push_back(request(length, 6 + length % 4));
  }
  return requests;
}

bool goes_on_after(int32_t id) { return id >= 40; }

/// What the engine answers, up to the same end.
std::vector<int32_t> plain_answer(CausalLm model, const Request& request) {
  Engine engine(std::move(model));
  return engine.generate(request.prompt, request.options, goes_on_after);
}

/// [variant][request], those that were asked for, and the order in which variants told them.
struct Answered {
  std::vector<std::vector<std::vector<int32_t>>> ids;
  std::vector<size_t> variants;
};

Answered answers_of(VariantRespondent respondent, const std::vector<Request>& requests,
                    const std::function<bool(size_t, size_t)>& is_wanted = {}) {
  Answered all;
  all.ids.assign(respondent.variants(), std::vector<std::vector<int32_t>>(requests.size()));
  respondent.generate(requests,
                      {.is_wanted = is_wanted,
                       .on_token = [](size_t, size_t, int32_t id) { return goes_on_after(id); },
                       .on_answer =
                           [&](size_t variant, size_t place, const std::vector<int32_t>& ids) {
                             all.ids[variant][place] = ids;
                             all.variants.push_back(variant);
                           }});
  return all;
}

TEST_F(Sweep, generated_tokens_are_those_of_the_teacher_with_one_layer_replaced) {
  const auto requests = some_requests_of_ids();
  const auto answers = answers_of(VariantRespondent(variants_), requests).ids;
  std::set<size_t> lengths;
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto& found = answers[static_cast<size_t>(variant)][i];
      EXPECT_EQ(found, plain_answer(plain(variant), requests[i])) << variant << ", " << i;
      lengths.insert(found.size());
    }
  }
  EXPECT_GT(lengths.size(), 2U) << "some answers should end early";
  EXPECT_NE(answers[1], answers[0]);
  EXPECT_NE(answers[3], answers[2]);
}

TEST_F(Sweep, answers_do_not_depend_on_the_batch_or_on_which_variants_are_asked) {
  const auto requests = some_requests_of_ids();
  const auto expected = answers_of(VariantRespondent(variants_), requests);
  EXPECT_EQ(expected.variants.front(), 0U);
  EXPECT_TRUE(
      std::is_sorted(expected.variants.begin() + 6, expected.variants.end(), std::greater()))
      << "one batch, from the last layer down";
  // Of the longest prompt alone.
  const int64_t small = int64_t{3} * 64 * kLayers * (2 * 32 + 32) * 4 * 8 / 7 + 5000;
  const auto in_batches = answers_of(VariantRespondent(variants_, small), requests);
  EXPECT_EQ(in_batches.ids, expected.ids);
  EXPECT_FALSE(
      std::is_sorted(in_batches.variants.begin() + 6, in_batches.variants.end(), std::greater()));
  const auto some =
      answers_of(VariantRespondent(variants_), requests,
                 [](size_t variant, size_t i) { return variant == 1 || (variant == 3 && i < 4); });
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(some.ids[0][i].empty() && some.ids[2][i].empty());
    EXPECT_EQ(some.ids[1][i], expected.ids[1][i]);
    EXPECT_EQ(some.ids[3][i], i < 4 ? expected.ids[3][i] : std::vector<int32_t>());
  }
  EXPECT_ERROR(answers_of(VariantRespondent(variants_, 9000), requests),
               "sweep: memory: expected room for a prompt and its answer of 130 + 8 tokens");
}

/// Many prompts, one of them long, with short answers: in bfloat16 a tie may turn a token, and with
/// it all that follow.
std::vector<Request> short_answers() {
  std::vector<Request> requests = {request(256, 2)};
  for (const int64_t length : {130, 128, 100, 65, 64, 63, 40, 33, 20, 7, 1}) {
    requests.push_back(request(length, 1 + length % 3));
  }
  return requests;
}

/// Of each variant the share of answers that the engine gives too.
std::vector<double> agreements(const VariantRespondent& respondent,
                               const std::vector<Request>& requests,
                               const std::function<CausalLm(int64_t)>& plain) {
  std::vector<double> shares;
  for (const auto& found : answers_of(respondent, requests).ids) {
    int64_t equal = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      equal += found[i] == plain_answer(plain(std::ssize(shares)), requests[i]);
    }
    shares.push_back(static_cast<double>(equal) / static_cast<double>(requests.size()));
  }
  return shares;
}

class SweepOnGpu : public testing::TestWithParam<int64_t> {};

TEST_P(SweepOnGpu, generated_tokens_of_each_variant_are_those_of_the_engine_within_rounding) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU";
  ModelConfig config = teacher_config();
  config.head_dim = GetParam();
  const auto on_gpu = [](CausalLm model) {
    model->to(torch::kCUDA, torch::kBFloat16);
    model->prepare({.type = torch::kBFloat16});
    return model;
  };
  const CausalLm teacher = spread_model(config, 5), twins = new_twins(teacher, 6);
  LayerVariants variants(on_gpu(replaced_model(teacher, twins, -1)), on_gpu(new_twins(teacher, 6)));
  const auto plain = [&](int64_t variant) {
    return on_gpu(replaced_model(teacher, twins, variant - 1));
  };
  // States of four heads, float32, of five prompts are an eighth of this.
  const int64_t bytes = int64_t{5} * 8 * 4 * 4 * GetParam() * GetParam();
  const auto shares = agreements(VariantRespondent(variants, bytes), short_answers(), plain);
  EXPECT_EQ(shares[0], 1.0) << "the teacher";
  for (size_t variant = 1; variant < shares.size(); ++variant) {
    EXPECT_GE(shares[variant], 0.8) << "layer " << variant - 1;
  }
}

INSTANTIATE_TEST_SUITE_P(HeadSizes, SweepOnGpu, testing::Values(64, 128));

TEST_F(Sweep, twins_of_another_model_are_refused) {
  EXPECT_ERROR(check_twins(teacher_config(), teacher_config(), "twins"),
               "every layer is recurrent");
  EXPECT_ERROR(check_twins(twins_->config(), twins_->config(), "twins"),
               "teacher: expected a model whose every layer is attention");
  const auto shorter = hypenet_config(testing_support::tiny_teacher_config(), mixer_types(2, {}));
  EXPECT_ERROR(check_twins(teacher_config(), shorter, "twins"),
               "expected twins of 3 layers of size 32, found 2");
  const torch::NoGradGuard no_grad;
  twins_->named_parameters()["model.layers.1.mlp.up_proj.weight"].add_(1);
  EXPECT_ERROR(LayerVariants(teacher_, twins_, "twins"),
               "twins: tensor model.layers.1.mlp.up_proj.weight: expected the teacher's");
}

TEST_F(Sweep, recall_and_text_are_measured_as_plainly) {
  const auto rows = some_rows();
  const auto recall = sweep_recall(variants_, rows, alone_, {});
  const auto text = sweep_text(variants_, rows, alone_, {});
  ASSERT_EQ(recall.size(), 2U);
  ASSERT_EQ(text.size(), 3U);
  EXPECT_EQ(recall[0].name, "recall/exact");
  EXPECT_EQ(text[2].name, "text/kl");
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    const auto v = static_cast<size_t>(variant);
    Engine engine(plain(variant));
    const RowScores scores = engine.score(rows);
    EXPECT_DOUBLE_EQ(recall[0].values[v], exact_share(scores));
    EXPECT_DOUBLE_EQ(text[0].values[v], greedy_share(scores));
    EXPECT_NEAR(text[1].values[v], -std::log(perplexity(scores)), 1e-4);
  }
  EXPECT_EQ(text[2].values[0], 0);
}

TEST_F(Sweep, divergence_is_kl_over_all_positions) {
  const auto ids = random_ids(30, 3);
  const auto found = sweep_text(variants_, {{ids, 1}}, alone_, {})[2];
  const torch::NoGradGuard no_grad;
  const Tensor input = torch::tensor(ids).to(torch::kInt64).unsqueeze(0).slice(1, 0, 29);
  const Tensor p = torch::log_softmax(teacher_->forward(input), -1);
  for (int64_t variant = 1; variant <= kLayers; ++variant) {
    const Tensor q = torch::log_softmax(plain(variant)->forward(input), -1);
    EXPECT_NEAR(found.values[static_cast<size_t>(variant)],
                (p.exp() * (p - q)).sum(-1).mean().item<double>(), 1e-4);
  }
}

EvalRequest choice(const std::string& context, const std::string& continuation) {
  return {.kind = RequestKind::kLoglikelihood, .context = context, .continuation = continuation};
}

EvalRequest prompt(const std::string& context, int64_t max_tokens) {
  return {.kind = RequestKind::kGenerate,
          .context = context,
          .until = {"\n", "e"},
          .max_tokens = max_tokens};
}

/// Three tasks of the published sweep, two items each.
std::vector<Task> some_tasks() {
  Task easy{.name = "arc_easy", .scoring = &Scoring::kMultipleChoice};
  Task fda{.name = "fda", .scoring = &Scoring::kContains};
  Task squad{.name = "ruler_qa_squad/4096", .scoring = &Scoring::kPartOfReferences};
  for (const std::string number : {"one", "two"}) {
    easy.items.push_back({.requests = {choice("Question: " + number + "?\nAnswer:", " red"),
                                       choice("Question: " + number + "?\nAnswer:", " blue sky")},
                          .gold = number == "one" ? 0 : 1,
                          .lengths = {3, 8}});
    fda.items.push_back(
        {.requests = {prompt("The value of " + number + ":", 9)}, .references = {"v"}});
    squad.items.push_back(
        {.requests = {prompt("Document " + number + "\nAnswer:", 7)}, .references = {"a", "b"}});
  }
  return {easy, fda, squad};
}

TEST_F(Sweep, columns_are_the_published_ones_with_the_scores_of_a_plain_evaluation) {
  const Tokenizer tokenizer = this->tokenizer();
  const std::vector<int32_t> none;
  const auto tasks = some_tasks();
  const auto columns = sweep_tasks(
      {.variants = variants_, .tokenizer = tokenizer, .held_out = none}, tasks, false, {});
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const SweepColumn& column : columns) names.push_back(column.name);
  EXPECT_THAT(names, ElementsAre("arc_easy/acc", "arc_easy/acc_norm", "fda/contains",
                                 "ruler_qa_squad/4096"));
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    Engine engine(plain(variant));
    ModelRespondent model(engine);
    Evaluator evaluator(model, tokenizer, {});
    std::vector<double> expected;
    for (const Task& task : tasks) {
      std::vector<ItemScores> scores;
      for (const TaskItem& item : task.items) {
        scores.push_back(task.scoring->score(item, evaluator.answer(item.requests, {})[0]));
      }
      for (const Metric& metric : summarize(task, scores)) {
        if (metric.name != "part/ruler") expected.push_back(metric.value);
      }
    }
    for (size_t i = 0; i < columns.size(); ++i) {
      EXPECT_DOUBLE_EQ(columns[i].values[static_cast<size_t>(variant)], expected[i]) << names[i];
    }
  }
}

TEST_F(Sweep, likelihoods_of_right_answers_are_columns_when_asked_for) {
  const Tokenizer tokenizer = this->tokenizer();
  const std::vector<int32_t> none;
  const auto columns = sweep_tasks(
      {.variants = variants_, .tokenizer = tokenizer, .held_out = none}, some_tasks(), true, {});
  ASSERT_EQ(columns.size(), 7U);
  EXPECT_EQ(columns[2].name, "arc_easy/ll");
  EXPECT_EQ(columns[4].name, "fda/ll");
  EXPECT_EQ(columns[6].name, "ruler_qa_squad/4096/ll");
  Engine engine(plain(2));
  ModelRespondent model(engine);
  Evaluator evaluator(model, tokenizer, {});
  const auto mean = [&](const std::vector<EvalRequest>& requests) {
    double sum = 0;
    const auto answers = evaluator.answer(requests, {}).front();
    for (const EvalAnswer& answer : answers) sum += answer.loglikelihood;
    return sum / static_cast<double>(requests.size());
  };
  EXPECT_NEAR(columns[2].values[2],
              mean({choice("Question: one?\nAnswer:", " red"),
                    choice("Question: two?\nAnswer:", " blue sky")}),
              1e-3);
  EXPECT_NEAR(columns[4].values[2],
              mean({choice("The value of one:", " v"), choice("The value of two:", " v")}), 1e-3);
}

TEST_F(Sweep, scores_that_are_no_numbers_name_the_column_and_the_variant) {
  const Tokenizer tokenizer = this->tokenizer();
  const auto prose = random_ids(400, 1);
  {
    const torch::NoGradGuard no_grad;
    teacher_->named_parameters()["model.layers.2.self_attn.q_proj.weight"].fill_(NAN);
  }
  SweepConfig config;
  config.tasks = {"lazy"};
  config.context = 90, config.windows = 2;
  EXPECT_ERROR(
      sweep_layers({.variants = variants_, .tokenizer = tokenizer, .held_out = prose}, config, {}),
      "sweep: lazy/mass of the teacher: expected a finite number");
}

/// The requests of all tasks.
std::vector<EvalRequest> some_requests() {
  std::vector<EvalRequest> requests;
  for (const Task& task : some_tasks()) {
    for (const TaskItem& item : task.items) {
      requests.insert(requests.end(), item.requests.begin(), item.requests.end());
    }
  }
  return requests;
}

TEST_F(Sweep, answers_end_at_the_stop_ids_of_the_model_as_in_a_plain_evaluation) {
  const Tokenizer tokenizer = this->tokenizer();
  const auto requests = some_requests();
  std::vector<int32_t> stop_ids(128);
  std::iota(stop_ids.begin(), stop_ids.end(), 64);
  VariantRespondent all(variants_);
  const auto without = Evaluator(all, tokenizer, {}).answer(requests, {});
  const auto found = Evaluator(all, tokenizer, {.stop_ids = stop_ids}).answer(requests, {});
  int64_t shortened = 0;
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    const auto v = static_cast<size_t>(variant);
    Engine engine(plain(variant));
    ModelRespondent model(engine);
    const auto expected =
        Evaluator(model, tokenizer, {.stop_ids = stop_ids}).answer(requests, {}).front();
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(found[v][i].text, expected[i].text) << variant << ", " << i;
      shortened += found[v][i].text != without[v][i].text;
    }
  }
  EXPECT_GT(shortened, 3);
}

TEST_F(Sweep, prompts_that_are_cut_are_counted_before_anything_runs) {
  const Tokenizer tokenizer = this->tokenizer();
  const std::vector<int32_t> none;
  auto tasks = some_tasks();
  tasks[1].items[0].requests[0].context = std::string(600, 'x');
  std::string note;
  sweep_tasks({.variants = variants_,
               .tokenizer = tokenizer,
               .held_out = none,
               .note = [&](const std::string& text) { note = text; }},
              tasks, false, {});
  EXPECT_EQ(note.rfind("sweep: 1 of 8 requests are longer than the model reads", 0), 0U) << note;
}

TEST_F(Sweep, a_stopped_sweep_goes_on_and_ends_as_if_it_had_not_been_stopped) {
  const Tokenizer tokenizer = this->tokenizer();
  const auto requests = some_requests();
  VariantRespondent respondent(variants_, 0, /*batch_tokens=*/40);
  const auto expected = Evaluator(respondent, tokenizer, {}).answer(requests, {});
  const auto same = [&](const std::vector<std::vector<EvalAnswer>>& found) {
    for (size_t variant = 0; variant < expected.size(); ++variant) {
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(found[variant][i].text, expected[variant][i].text);
        EXPECT_NEAR(found[variant][i].loglikelihood, expected[variant][i].loglikelihood, 1e-9);
      }
    }
  };
  const auto journal = folder_ / "scores.csv.journal";
  const EvaluatorOptions options{.journal = journal, .identity = "it"};
  int64_t most = -1, stops = 0;
  // Each time it is stopped as soon as something new is known.
  for (bool is_done = false; !is_done;) {
    Evaluator evaluator(respondent, tokenizer, options);
    int64_t first = -1;
    try {
      same(evaluator.answer(requests, [&](const EvaluationProgress& now) {
        if (now.total() == 0) return;
        if (first < 0) first = now.done();
        EXPECT_EQ(now.total(), int64_t(requests.size()) * (kLayers + 1));
        if (now.done() > first && now.done() < now.total()) throw Error("stopped");
      }));
      is_done = true;
    } catch (const Error& error) {
      ASSERT_STREQ(error.what(), "stopped");
      EXPECT_GT(first, most) << "finished answers are not run again";
      most = first;
      ASSERT_LT(++stops, 100);
    }
  }
  EXPECT_GT(stops, 3);
  const std::string text = read_file(journal);
  same(Evaluator(respondent, tokenizer, options).answer(requests, {}));
  EXPECT_EQ(read_file(journal), text) << "nothing was left to do";
}

TEST_F(Sweep, scores_stand_before_what_other_rules_read) {
  const Tokenizer tokenizer = this->tokenizer();
  const auto prose = random_ids(400, 1);
  SweepConfig config;
  config.tasks = {"lazy", "text"};
  config.context = 90, config.windows = 2;
  const LayerScores scores =
      sweep_layers({.variants = variants_, .tokenizer = tokenizer, .held_out = prose}, config, {});
  EXPECT_THAT(scores.columns,
              ElementsAre("next_token/accuracy", "lazy/mass", "next_token/ll", "text/kl"));
  EXPECT_EQ(scores.layers.size(), 3U);
  config.tasks = {"text"};
  const std::vector<int32_t> none;
  EXPECT_ERROR(
      sweep_layers({.variants = variants_, .tokenizer = tokenizer, .held_out = none}, config, {}),
      "expected held-out text, found none");
}

}  // namespace
}  // namespace hypenet
