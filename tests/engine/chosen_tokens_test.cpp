// Masks, bans, penalties of the answer and likeliest tokens: each against its definition over whole
// forwards, and none of them shows in another sequence's answer.
#include <gmock/gmock.h>
#include <torch/cuda.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "engine/engine.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

using testing::ElementsAreArray;

constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-4},
    {"cpu_bfloat16_weights", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-3},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 2e-2},
};

constexpr int64_t kVocabulary = 500;
constexpr int32_t kStop = 7;

/// Free for some tokens; then tokens that make the sum with the one before a multiple of three;
/// after so many of them nothing but kStop.
class SumMask : public TokenMask {
 public:
  SumMask(size_t free, size_t constrained) : free_(free), constrained_(constrained) {}

  void accept(int32_t id) override { accepted.push_back(id); }
  bool fill(std::span<int32_t> words) override {
    EXPECT_EQ(std::ssize(words), (kVocabulary + 31) / 32);
    if (accepted.size() < free_) return false;
    std::ranges::fill(words, 0);
    for (int32_t v = 0; v < kVocabulary; ++v) {
      if (allows(v)) words[static_cast<size_t>(v / 32)] |= static_cast<int32_t>(1U << (v % 32));
    }
    return true;
  }
  bool allows(int32_t id) const {
    if (accepted.size() < free_) return true;
    if (accepted.size() >= free_ + constrained_) return id == kStop;
    return id != kStop && (id + (accepted.empty() ? 0 : accepted.back())) % 3 == 0;
  }

  std::vector<int32_t> accepted;

 private:
  size_t free_, constrained_;
};

class NothingMask : public TokenMask {
 public:
  void accept(int32_t /*id*/) override {}
  bool fill(std::span<int32_t> words) override {
    std::ranges::fill(words, 0);
    return true;
  }
};

/// A step has the kernels of both kinds of layers on a GPU too.
ModelConfig small_config() {
  ModelConfig config = testing_support::tiny_hypenet_config();
  config.hidden_size = 72, config.intermediate_size = 152, config.vocab_size = kVocabulary;
  config.num_attention_heads = 6, config.num_key_value_heads = 2, config.head_dim = 64;
  config.mixers.of<LightningConfig>() = {.nh = 6, .nkv = 6, .head_dim = 64};
  config.num_hidden_layers = 2;
  config.mixer_types = {&kLightningMixer, &kAttentionMixer};
  return config;
}

std::vector<int32_t> random_ids(int64_t length, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>(random.below(kVocabulary)));
  }
  return ids;
}

/// All that was told of one request.
struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::vector<std::pair<int32_t, float>>> top;
  FinishReason finish = FinishReason::kNone;

  bool operator==(const Answer&) const = default;
};

class ChosenTokens : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
    torch::manual_seed(3);
    model_ = CausalLm(small_config());
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : model_->parameters()) {
        if (parameter.dim() > 1) parameter.mul_(6);
      }
    }
    model_->to(torch::Device(GetParam().device), GetParam().weight_type);
    model_->prepare({.type = GetParam().type});
  }

  static EngineOptions options() {
    return {.memory_bytes = int64_t{64} << 20,
            .max_sequences = 8,
            .page_tokens = 64,
            .prefill_chunk = 128,
            .poisons_freed_memory = true};
  }

  /// Of one kind each; with new masks, which remember.
  static std::vector<Request> requests() {
    std::vector<Request> all(8);
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].prompt = random_ids(std::vector{3, 200, 64, 129, 1, 30, 5, 9}[i], i);
      all[i].options.max_tokens = std::vector{40, 12, 30, 25, 20, 35, 30, 16}[i];
      if (i % 2 == 1) all[i].options.sampling = {.temperature = 1, .top_p = 0.9, .seed = i};
    }
    all[2].options.mask = std::make_shared<SumMask>(0, 12);
    all[2].options.stop_ids = {kStop};
    all[3].options.mask = std::make_shared<SumMask>(6, 100);
    all[4].options.top_logprobs = 20;
    all[5].options.sampling.presence_penalty = 1.5;
    all[5].options.sampling.frequency_penalty = -0.5;
    all[6].options.stop_ids = random_ids(60, 77);
    all[6].options.min_tokens = 20;
    all[7].options.mask = std::make_shared<SumMask>(2, 5);
    all[7].options.top_logprobs = 3;
    all[7].options.sampling.repetition_penalty = 1.2;
    return all;
  }

  std::vector<Answer> answers(std::vector<Request> requests, const EngineOptions& options) const {
    Engine engine(model_, options);
    std::map<int64_t, size_t> places;
    for (size_t i = 0; i < requests.size(); ++i) places[engine.submit(requests[i])] = i;
    std::vector<Answer> found(requests.size());
    while (!engine.is_idle()) {
      for (const Event& event : engine.step()) add(event, found[places.at(event.sequence)]);
    }
    return found;
  }

  static void add(const Event& event, Answer& answer) {
    EXPECT_EQ(answer.finish, FinishReason::kNone);
    answer.finish = event.finish;
    if (event.id < 0) return;
    answer.ids.push_back(event.id), answer.logprobs.push_back(event.logprob);
    auto& top = answer.top.emplace_back();
    for (const TokenLogprob& token : event.top) top.emplace_back(token.id, token.logprob);
  }

  /// Each of requests() in an engine of its own.
  std::vector<Answer> alone(const EngineOptions& options) const {
    std::vector<Answer> found;
    for (size_t i = 0; i < requests().size(); ++i) {
      found.push_back(answers({requests()[i]}, options).front());
    }
    return found;
  }

  /// Float64 logits of the token behind these.
  std::vector<double> next_logits(const std::vector<int32_t>& ids) {
    const torch::NoGradGuard no_grad;
    const Tensor row = torch::tensor(ids, torch::kInt64).to(GetParam().device).unsqueeze(0);
    const Tensor logits = model_->forward(row)[0][-1].to(torch::kFloat64).cpu();
    return {logits.const_data_ptr<double>(), logits.const_data_ptr<double>() + logits.numel()};
  }

  CausalLm model_{nullptr};
};

void expect_equal(const std::vector<Answer>& found, const std::vector<Answer>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_THAT(found[i].ids, ElementsAreArray(expected[i].ids)) << "request " << i;
    EXPECT_TRUE(found[i] == expected[i]) << "request " << i;
  }
}

TEST_P(ChosenTokens, are_the_same_alone_and_beside_others) {
  const auto expected = alone(options());
  EXPECT_EQ(expected[2].finish, FinishReason::kStop);
  EXPECT_EQ(expected[2].ids.size(), 12U);
  EXPECT_EQ(expected[7].finish, FinishReason::kLength);
  expect_equal(answers(requests(), options()), expected);
  EngineOptions narrow = options();
  narrow.max_sequences = 3;  // slots change hands
  expect_equal(answers(requests(), narrow), expected);
  EngineOptions plain = options();
  plain.uses_graphs = false;
  expect_equal(answers(requests(), plain), expected);
}

TEST_P(ChosenTokens, are_the_same_when_prompts_go_through_the_steps) {
  EngineOptions stepped = options();
  stepped.stepped_prompt = 300;
  const auto expected = alone(stepped);
  expect_equal(answers(requests(), stepped), expected);
  stepped.max_sequences = 2;
  expect_equal(answers(requests(), stepped), expected);
  if (GetParam().device == torch::kCPU) expect_equal(alone(options()), expected);
}

TEST_P(ChosenTokens, are_the_same_whoever_is_cancelled) {
  const auto expected = alone(options());
  Engine engine(model_, options());
  std::map<int64_t, size_t> places;
  const auto all = requests();
  for (size_t i = 0; i < all.size(); ++i) places[engine.submit(all[i])] = i;
  std::vector<Answer> found(all.size());
  for (int step = 0; !engine.is_idle(); ++step) {
    if (step == 6) engine.cancel(3), engine.cancel(4), engine.cancel(0);
    for (const Event& event : engine.step()) add(event, found[places.at(event.sequence)]);
  }
  for (const size_t i : {1, 2, 5, 6, 7}) EXPECT_TRUE(found[i] == expected[i]) << "request " << i;
  EXPECT_EQ(found[3].finish, FinishReason::kCancelled);
}

TEST_P(ChosenTokens, are_those_that_the_mask_lets_come_and_it_is_told_of_each) {
  const auto all = requests();
  const auto found = answers(all, options());
  for (const size_t i : {2, 3, 7}) {
    const auto& told = dynamic_cast<const SumMask&>(*all[i].options.mask).accepted;
    EXPECT_THAT(told, ElementsAreArray(found[i].ids));
    SumMask again(std::vector{0, 0, 0, 6, 0, 0, 0, 2}[i],
                  std::vector{0, 0, 12, 100, 0, 0, 0, 5}[i]);
    for (const int32_t id : found[i].ids) {
      EXPECT_TRUE(again.allows(id)) << "request " << i << " token " << again.accepted.size();
      again.accept(id);
    }
  }
}

TEST_P(ChosenTokens, an_answer_without_a_token_that_may_come_ends) {
  auto all = requests();
  const auto expected = answers({all[0]}, options());
  all.resize(3);
  all[1].options.mask = std::make_shared<NothingMask>();
  // The mask lets only the stop id come, which min_tokens bans.
  all[2].options.min_tokens = 20;
  const auto found = answers(all, options());
  EXPECT_TRUE(found[0] == expected[0]);
  EXPECT_EQ(found[1].finish, FinishReason::kNoToken);
  EXPECT_TRUE(found[1].ids.empty());
  EXPECT_EQ(found[2].finish, FinishReason::kNoToken);
  EXPECT_EQ(found[2].ids.size(), 12U);
}

TEST_P(ChosenTokens, are_no_stop_ids_before_the_answer_has_its_least_tokens) {
  Request request = requests()[0];
  const std::vector<int32_t> free = answers({request}, options())[0].ids;
  request.options.stop_ids = {free[4], free[9]};
  const auto stopped = answers({request}, options())[0];
  EXPECT_EQ(stopped.finish, FinishReason::kStop);
  EXPECT_LT(stopped.ids.size(), 10U);
  request.options.min_tokens = 12;
  const auto found = answers({request}, options())[0];
  EXPECT_GE(found.ids.size(), 12U);
  EXPECT_THAT(std::vector(found.ids.begin(), found.ids.begin() + 4),
              ElementsAreArray(free.begin(), free.begin() + 4));
  for (const int32_t id : request.options.stop_ids)
    EXPECT_THAT(found.ids, testing::Not(testing::Contains(id)));
  // As many as the answer may have: it never stops.
  request.options.min_tokens = request.options.max_tokens;
  EXPECT_EQ(answers({request}, options())[0].finish, FinishReason::kLength);
}

TEST_P(ChosenTokens, likeliest_tokens_are_those_of_a_whole_forward) {
  for (const size_t i : {4, 7}) {
    const Request request = requests()[i];
    const auto found = answers({request}, options())[0];
    std::vector<int32_t> ids = request.prompt;
    for (size_t t = 0; t < found.ids.size(); ++t) {
      const std::vector<double> logits = next_logits(ids);
      double sum = 0;
      for (const double x : logits) sum += std::exp(x - logits[0]);
      const auto logprob = [&](int32_t id) { return logits[id] - logits[0] - std::log(sum); };
      ASSERT_EQ(std::ssize(found.top[t]), request.options.top_logprobs);
      std::vector<double> sorted = logits;
      std::ranges::sort(sorted, std::greater());
      for (size_t k = 0; k < found.top[t].size(); ++k) {
        const auto& [id, told] = found.top[t][k];
        EXPECT_NEAR(told, logprob(id), 100 * GetParam().tolerance);
        EXPECT_NEAR(logits[id], sorted[k], 100 * GetParam().tolerance);
        EXPECT_TRUE(k == 0 || told <= found.top[t][k - 1].second);
        EXPECT_TRUE(id != found.ids[t] || told == found.logprobs[t]);
      }
      ids.push_back(found.ids[t]);
    }
  }
}

TEST_P(ChosenTokens, greedy_ones_follow_their_definition) {
  if (GetParam().type != torch::kFloat32) GTEST_SKIP() << "near logits change places in bfloat16";
  Request request = requests()[0];
  request.options.sampling.presence_penalty = 1.25;
  request.options.sampling.frequency_penalty = 0.75;
  request.options.stop_ids = random_ids(50, 5);
  request.options.min_tokens = 30;
  request.options.mask = std::make_shared<SumMask>(10, 100);
  const auto found = answers({request}, options())[0].ids;
  ASSERT_GE(found.size(), 30U);
  SumMask mask(10, 100);
  std::vector<int32_t> ids = request.prompt;
  std::map<int32_t, int> counts;
  for (size_t t = 0; t < found.size(); ++t) {
    std::vector<double> x = next_logits(ids);
    for (const auto& [id, count] : counts) x[id] -= 1.25 + 0.75 * count;
    for (int32_t v = 0; v < kVocabulary; ++v) {
      if (!mask.allows(v)) x[v] = -INFINITY;
    }
    for (const int32_t id : request.options.stop_ids) x[id] = t < 30 ? -INFINITY : x[id];
    // A choice that rounding makes is as good.
    EXPECT_NEAR(x[found[t]], *std::ranges::max_element(x), 1e-3) << t;
    ids.push_back(found[t]), mask.accept(found[t]), ++counts[found[t]];
  }
}

INSTANTIATE_TEST_SUITE_P(targets, ChosenTokens, testing::ValuesIn(kTargets),
                         [](const auto& test) { return test.param.name; });

TEST(ChosenTokensErrors, name_the_setting) {
  Engine engine(CausalLm(testing_support::tiny_hypenet_config()));
  Request good{{1, 2, 3}, {}}, bad = good;
  bad.options.sampling.presence_penalty = 2.5;
  EXPECT_ERROR(engine.submit(bad), "presence_penalty: expected -2 to 2, found 2.5");
  bad = good, bad.options.sampling.frequency_penalty = -3;
  EXPECT_ERROR(engine.submit(bad), "frequency_penalty: expected -2 to 2, found -3");
  bad = good, bad.options.top_logprobs = 21;
  EXPECT_ERROR(engine.submit(bad), "top_logprobs: expected -1 to 20, found 21");
  bad = good, bad.options.min_tokens = 129;
  EXPECT_ERROR(engine.submit(bad), "min_tokens: expected 0 to max_tokens, which is 128, found 129");
  bad = good, bad.options.min_tokens = 1, bad.options.stop_ids.assign(65, 5);
  EXPECT_ERROR(engine.submit(bad), "stop_ids: with min_tokens: expected at most 64, found 65");
  EXPECT_TRUE(engine.is_idle());
}

}  // namespace
}  // namespace hypenet
