// The sweep against a plain evaluation of models with one layer replaced.
#include "halo/sweep.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <set>

#include "base/files.h"
#include "base/random.h"
#include "engine/engine.h"
#include "eval/evaluator.h"
#include "eval/measures.h"
#include "halo/variant_answers.h"
#include "halo/variant_evaluator.h"
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

std::vector<AnswerPrompt> some_prompts() {
  std::vector<AnswerPrompt> prompts;
  prompts.reserve(6);
  for (const int64_t length : {130, 65, 64, 63, 20, 1}) {
    prompts.push_back({random_ids(length, 7 + static_cast<uint64_t>(length)), 6 + length % 4});
  }
  return prompts;
}

bool ends_in_a_low_byte(size_t /*prompt*/, std::span<const int32_t> answer) {
  return answer.back() < 40;
}

/// What the engine answers, up to the same end.
std::vector<int32_t> plain_answer(CausalLm model, const AnswerPrompt& prompt) {
  Engine engine(std::move(model));
  std::vector<int32_t> answer;
  GenerateOptions options;
  options.max_tokens = prompt.max_tokens;
  engine.generate(prompt.ids, options, [&](int32_t id) {
    answer.push_back(id);
    return !ends_in_a_low_byte(0, answer);
  });
  return answer;
}

using Answers = std::vector<std::vector<int32_t>>;

std::vector<Answers> answers_of(VariantGenerator& generator,
                                const std::vector<AnswerPrompt>& prompts,
                                const std::vector<bool>& is_wanted) {
  std::vector<Answers> answers(is_wanted.size());
  for (size_t begin = 0; begin < prompts.size();) {
    const auto left = std::span(prompts).subspan(begin);
    const size_t count = generator.fitting(left);
    generator.generate(left.first(count), is_wanted, ends_in_a_low_byte,
                       [&](int64_t variant, const Answers& found) {
                         auto& all = answers[static_cast<size_t>(variant)];
                         all.insert(all.end(), found.begin(), found.end());
                       });
    begin += count;
  }
  return answers;
}

TEST_F(Sweep, generated_tokens_are_those_of_the_teacher_with_one_layer_replaced) {
  const auto prompts = some_prompts();
  VariantGenerator generator(variants_);
  const auto answers = answers_of(generator, prompts, std::vector<bool>(kLayers + 1, true));
  std::set<size_t> lengths;
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto& found = answers[static_cast<size_t>(variant)][i];
      EXPECT_EQ(found, plain_answer(plain(variant), prompts[i])) << variant << ", " << i;
      lengths.insert(found.size());
    }
  }
  EXPECT_GT(lengths.size(), 2U) << "some answers should end early";
  EXPECT_NE(answers[1], answers[0]);
  EXPECT_NE(answers[3], answers[2]);
}

TEST_F(Sweep, answers_do_not_depend_on_the_batch_or_on_which_variants_are_asked) {
  const auto prompts = some_prompts();
  VariantGenerator generator(variants_);
  const auto expected = answers_of(generator, prompts, {true, true, true, true});
  // Of the longest prompt alone.
  VariantGenerator small(variants_, int64_t{3} * 64 * kLayers * (2 * 32 + 32) * 4 * 8 / 7 + 5000);
  EXPECT_LT(small.fitting(prompts), 3U);
  EXPECT_EQ(answers_of(small, prompts, {true, true, true, true}), expected);
  const auto some = answers_of(generator, prompts, {false, true, false, true});
  EXPECT_TRUE(some[0].empty() && some[2].empty());
  EXPECT_EQ(some[1], expected[1]);
  EXPECT_EQ(some[3], expected[3]);
  EXPECT_ERROR(VariantGenerator(variants_, 9000).fitting(prompts),
               "sweep: memory: expected room for a prompt and its answer of 130 + 8 tokens");
}

/// Many prompts, one of them long, with short answers: in bfloat16 a tie may turn a token, and with
/// it all that follow.
std::vector<AnswerPrompt> short_answers() {
  std::vector<AnswerPrompt> prompts;
  prompts.reserve(12);
  prompts.push_back({random_ids(256, 1), 2});
  for (const int64_t length : {130, 128, 100, 65, 64, 63, 40, 33, 20, 7, 1}) {
    prompts.push_back({random_ids(length, 7 + static_cast<uint64_t>(length)), 1 + length % 3});
  }
  return prompts;
}

/// Of each variant the share of answers that the engine gives too.
std::vector<double> agreements(LayerVariants& variants, VariantGenerator& generator,
                               const std::vector<AnswerPrompt>& prompts,
                               const std::function<CausalLm(int64_t)>& plain) {
  const auto answers = answers_of(generator, prompts,
                                  std::vector<bool>(static_cast<size_t>(variants.count()), true));
  std::vector<double> shares;
  for (int64_t variant = 0; variant < variants.count(); ++variant) {
    int64_t equal = 0;
    const auto& found = answers[static_cast<size_t>(variant)];
    for (size_t i = 0; i < prompts.size(); ++i) {
      equal += found[i] == plain_answer(plain(variant), prompts[i]);
    }
    shares.push_back(static_cast<double>(equal) / static_cast<double>(prompts.size()));
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
  const auto prompts = short_answers();
  // States of four heads, float32, of five prompts are an eighth of this.
  VariantGenerator generator(variants, int64_t{5} * 8 * 4 * 4 * GetParam() * GetParam());
  EXPECT_GT(generator.fitting(prompts), 1U);
  EXPECT_LT(generator.fitting(prompts), prompts.size());
  const auto shares = agreements(variants, generator, prompts, plain);
  EXPECT_EQ(shares[0], 1.0) << "the teacher";
  for (size_t variant = 1; variant < shares.size(); ++variant) {
    EXPECT_GE(shares[variant], 0.8) << "layer " << variant - 1;
  }
}

INSTANTIATE_TEST_SUITE_P(HeadSizes, SweepOnGpu, testing::Values(64, 128));

TEST_F(Sweep, twins_of_another_model_are_refused) {
  EXPECT_ERROR(check_twins(teacher_config(), teacher_config(), "twins"),
               "every layer is lightning-attn");
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
  const auto recall = sweep_recall(variants_, rows, {});
  const auto text = sweep_text(variants_, rows, {});
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
  const auto found = sweep_text(variants_, {{ids, 1}}, {})[2];
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
    Evaluator evaluator(engine, tokenizer, {});
    std::vector<double> expected;
    for (const Task& task : tasks) {
      std::vector<ItemScores> scores;
      for (const TaskItem& item : task.items) {
        scores.push_back(task.scoring->score(item, evaluator.answer(item.requests, {})));
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
  Evaluator evaluator(engine, tokenizer, {});
  const auto mean = [&](const std::vector<EvalRequest>& requests) {
    double sum = 0;
    for (const EvalAnswer& answer : evaluator.answer(requests, {})) sum += answer.loglikelihood;
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
  const auto without = VariantEvaluator(variants_, tokenizer, {}).answer(requests, {});
  const auto found =
      VariantEvaluator(variants_, tokenizer, {.stop_ids = stop_ids}).answer(requests, {});
  int64_t shortened = 0;
  for (int64_t variant = 0; variant <= kLayers; ++variant) {
    const auto v = static_cast<size_t>(variant);
    Engine engine(plain(variant));
    const auto expected = Evaluator(engine, tokenizer, {.stop_ids = stop_ids}).answer(requests, {});
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
  VariantEvaluator whole(variants_, tokenizer, {});
  const auto expected = whole.answer(requests, {});
  const auto same = [&](const std::vector<std::vector<EvalAnswer>>& found) {
    for (size_t variant = 0; variant < expected.size(); ++variant) {
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(found[variant][i].text, expected[variant][i].text);
        EXPECT_NEAR(found[variant][i].loglikelihood, expected[variant][i].loglikelihood, 1e-9);
      }
    }
  };
  const auto journal = folder_ / "scores.csv.journal";
  const VariantEvaluatorOptions options{.batch_tokens = 40, .journal = journal, .identity = "it"};
  int64_t most = -1, stops = 0;
  // Each time it is stopped as soon as something new is known.
  for (bool is_done = false; !is_done;) {
    VariantEvaluator evaluator(variants_, tokenizer, options);
    int64_t first = -1;
    try {
      same(evaluator.answer(requests, [&](int64_t done, int64_t total) {
        if (first < 0) first = done;
        EXPECT_EQ(total, int64_t(requests.size()) * (kLayers + 1));
        if (done > first && done < total) throw Error("stopped");
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
  VariantEvaluator again(variants_, tokenizer, options);
  same(again.answer(requests, {}));
  EXPECT_EQ(read_file(journal), text) << "nothing was left to do";
}

TEST_F(Sweep, a_journal_of_other_models_is_refused) {
  const Tokenizer tokenizer = this->tokenizer();
  const auto path = folder_ / "journal";
  Journal(path, "a").add("1", {});
  { const VariantEvaluator same(variants_, tokenizer, {.journal = path, .identity = "a"}); }
  EXPECT_ERROR(VariantEvaluator(variants_, tokenizer, {.journal = path, .identity = "b"}),
               "journal: answers of another model or setting");
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
