// What a sequence gets depends on its own tokens and settings only: not on who runs beside it, when
// it came, how its prompt is cut, how long a page is, or who had its memory before.
#include <gmock/gmock.h>
#include <torch/cuda.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/memory.h"
#include "engine/runner.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "model/mixers/supra.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-4},
    {"cpu_bfloat16_weights", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-3},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 2e-2},
};

/// A model on a target; of other mixers than lightning attention, where these are named.
struct Case : Target {
  const char* mixer = "";
  void (*configure)(ModelConfig& config) = [](ModelConfig& /*config*/) {};
};

/// Those mixers in place of lightning attention.
void replace_recurrence(ModelConfig& config, const MixerKind& kind) {
  std::ranges::replace(config.mixer_types, &kLightningMixer, &kind);
}

void use_gdn(ModelConfig& config) {
  replace_recurrence(config, kGdnMixer);
  config.mixers.of<GdnConfig>() = {
      .nh = 6, .nkv = 2, .head_dim = 64, .use_gate = true, .use_qk_norm = true, .use_rope = true};
}

void use_gdn_with_convolution(ModelConfig& config) {
  replace_recurrence(config, kGdnMixer);
  config.mixers.of<GdnConfig>() = {.nh = 2,
                                   .nkv = 2,
                                   .head_dim = 64,
                                   .num_v_heads = 4,
                                   .expand_v = 2,
                                   .use_gate = true,
                                   .use_short_conv = true,
                                   .activation = "silu"};
}

void use_kda(ModelConfig& config) {
  replace_recurrence(config, kKdaMixer);
  config.mixers.of<KdaConfig>() = {.head_dim = 64, .num_heads = 3, .use_rope = true};
}

void use_kda_with_convolution(ModelConfig& config) {
  replace_recurrence(config, kKdaMixer);
  config.mixers.of<KdaConfig>() = {.head_dim = 64,
                                   .num_heads = 3,
                                   .use_conv = true,
                                   .use_qk_norm = false,
                                   .lower_bound = -5,
                                   .use_gate_bias = true};
}

void use_mamba2(ModelConfig& config) {
  replace_recurrence(config, kMamba2Mixer);
  config.mixers.of<Mamba2Config>() = {.num_heads = 6,
                                      .num_key_value_heads = 2,
                                      .head_dim = 64,
                                      .conv_init = "identity",
                                      .use_qk_norm = true,
                                      .use_rope = true,
                                      .use_z_bias = true};
}

void use_discrete_mamba2(ModelConfig& config) {
  replace_recurrence(config, kMamba2Mixer);
  config.mixers.of<Mamba2Config>() = {.num_heads = 4,
                                      .num_key_value_heads = 2,
                                      .head_dim = 64,
                                      .is_discrete = true,
                                      .hidden_act = "silu"};
}

void use_supra(ModelConfig& config) {
  replace_recurrence(config, kSupraMixer);
  config.mixers.of<SupraConfig>() = {.n_heads = 6, .n_heads_kv = 2, .qk_head_dim = 64};
}

void use_nha(ModelConfig& config) {
  replace_recurrence(config, kNhaMixer);
  config.mixers.of<NhaConfig>() = {
      .num_heads = 6, .num_key_value_heads = 2, .head_dim = 64, .num_slots = 32, .window_size = 16};
}

void use_rwkv7(ModelConfig& config) {
  replace_recurrence(config, kRwkv7Mixer);
  config.mixers.of<Rwkv7Config>() = {.num_heads = 6,
                                     .num_key_value_heads = 2,
                                     .head_size = 64,
                                     .lora_rank_decay = 32,
                                     .lora_rank_iclr = 32,
                                     .lora_rank_gate = 32,
                                     .use_qk_norm = true};
}

/// RWKV's own layer, whose first values later layers mix in.
void use_rwkv7_as_published(ModelConfig& config) {
  replace_recurrence(config, kRwkv7Mixer);
  config.mixers.of<Rwkv7Config>() = {.num_heads = 3,
                                     .num_key_value_heads = 3,
                                     .head_size = 64,
                                     .lora_rank_decay = 32,
                                     .lora_rank_iclr = 32,
                                     .lora_rank_gate = 64,
                                     .lora_rank_value_residual_mix = 32,
                                     .use_rope = false,
                                     .use_tokenshift = true,
                                     .use_bonus = true,
                                     .use_v_first = true};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Target& target : kTargets) all.push_back({target});
  for (const Target& target : {kTargets[0], kTargets[2]}) {
    all.push_back({target, "_gdn", use_gdn});
    all.push_back({target, "_gdn_with_convolution", use_gdn_with_convolution});
    all.push_back({target, "_kda", use_kda});
    all.push_back({target, "_kda_with_convolution", use_kda_with_convolution});
    all.push_back({target, "_rwkv7", use_rwkv7});
    all.push_back({target, "_rwkv7_as_published", use_rwkv7_as_published});
    all.push_back({target, "_mamba2", use_mamba2});
    all.push_back({target, "_discrete_mamba2", use_discrete_mamba2});
    all.push_back({target, "_supra", use_supra});
    all.push_back({target, "_nha", use_nha});
  }
  return all;
}

/// Odd sizes: heads in groups of three, widths that are no powers of two.
ModelConfig odd_config() {
  ModelConfig config = testing_support::tiny_hypenet_config();
  config.hidden_size = 72, config.intermediate_size = 152, config.vocab_size = 500;
  config.num_attention_heads = 6, config.num_key_value_heads = 2, config.head_dim = 64;
  config.mixers.of<LightningConfig>() = {.nh = 6, .nkv = 6, .head_dim = 64};
  config.num_hidden_layers = 4;
  config.mixer_types = {&kLightningMixer, &kAttentionMixer, &kLightningMixer, &kAttentionMixer};
  config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 40};
  return config;
}

std::vector<int32_t> random_ids(int64_t length, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random.below(500)));
  return ids;
}

class Promises : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
    torch::manual_seed(3);
    ModelConfig config = odd_config();
    GetParam().configure(config);
    model_ = CausalLm(config);
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : model_->parameters()) {
        if (parameter.dim() == 2) parameter.mul_(6);
      }
    }
    model_->to(torch::Device(GetParam().device), GetParam().weight_type);
    model_->prepare({.type = GetParam().type});
    for (uint64_t i = 0; i < 5; ++i) {
      Request request;
      request.prompt = random_ids(std::vector{3, 300, 64, 129, 1}[i], i);
      request.options.max_tokens = std::vector{40, 5, 70, 9, 20}[i];
      if (i % 2 == 1) {
        request.options.sampling = {.temperature = 1, .top_k = 50, .top_p = 0.9, .seed = i};
      }
      requests_.push_back(request);
    }
  }

  EngineOptions options() const {
    return {.memory_bytes = int64_t{64} << 20,
            .max_sequences = 5,
            .page_tokens = 64,
            .prefill_chunk = 128,
            .poisons_freed_memory = true};
  }

  /// Each request in an engine of its own.
  std::vector<Completion> alone(const EngineOptions& options) {
    std::vector<Completion> completions;
    for (const Request& request : requests_) {
      completions.push_back(Engine(model_, options).generate({&request, 1}).front());
    }
    return completions;
  }

  CausalLm model_{nullptr};
  std::vector<Request> requests_;
};

void expect_equal(const std::vector<Completion>& found, const std::vector<Completion>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_THAT(found[i].ids, testing::ElementsAreArray(expected[i].ids)) << "request " << i;
    EXPECT_THAT(found[i].logprobs, testing::ElementsAreArray(expected[i].logprobs)) << i;
    EXPECT_EQ(found[i].finish, expected[i].finish);
  }
}

TEST_P(Promises, together_is_alone_bit_for_bit) {
  const auto expected = alone(options());
  EXPECT_EQ(expected[0].ids.size(), 40U);
  expect_equal(Engine(model_, options()).generate(requests_), expected);
}

TEST_P(Promises, the_order_of_arrival_does_not_show) {
  const auto expected = alone(options());
  Engine engine(model_, options());
  std::map<int64_t, size_t> places;
  std::vector<Completion> found(5);
  int64_t steps = 0;
  const std::vector<size_t> order = {3, 0, 4, 2, 1};
  while (places.size() < 5 || !engine.is_idle()) {
    if (steps % 7 == 0 && places.size() < 5) {
      const size_t next = order[places.size()];
      places[engine.submit(requests_[next])] = next;
    }
    ++steps;
    for (const Event& event : engine.step()) {
      Completion& completion = found[places.at(event.sequence)];
      completion.finish = event.finish;
      if (event.id < 0) continue;
      completion.ids.push_back(event.id), completion.logprobs.push_back(event.logprob);
    }
  }
  expect_equal(found, expected);
}

TEST_P(Promises, page_sizes_do_not_show) {
  EngineOptions larger = options();
  larger.page_tokens = 192;
  expect_equal(Engine(model_, larger).generate(requests_),
               Engine(model_, options()).generate(requests_));
}

TEST_P(Promises, chunks_of_the_prompt_do_not_show_on_a_cpu) {
  if (GetParam().device == torch::kCUDA) GTEST_SKIP() << "libtorch's products depend on the chunk";
  const auto expected = Engine(model_, options()).generate(requests_);
  for (const int64_t chunk : {1, 7, 100, 4096}) {
    EngineOptions other = options();
    other.prefill_chunk = chunk;
    expect_equal(Engine(model_, other).generate(requests_), expected);
  }
}

TEST_P(Promises, prompts_through_the_steps_are_as_alone) {
  EngineOptions stepped = options();
  stepped.stepped_prompt = 129;
  requests_[3].options.sampling.repetition_penalty = 1.3;  // what the steps choose before is unseen
  const auto expected = alone(stepped);
  expect_equal(Engine(model_, stepped).generate(requests_), expected);
  stepped.max_sequences = 2;
  expect_equal(Engine(model_, stepped).generate(requests_), expected);
  if (GetParam().device == torch::kCPU) expect_equal(alone(options()), expected);
}

TEST_P(Promises, memory_used_again_leaks_nothing) {
  const auto expected = alone(options());
  EngineOptions narrow = options();
  narrow.max_sequences = 1, narrow.max_context = 320;  // five pages for everyone in turn
  Engine engine(model_, narrow);
  expect_equal(engine.generate(requests_), expected);
  expect_equal(engine.generate(requests_), expected);
  EXPECT_EQ(engine.stats().pages, 5);
  EXPECT_EQ(engine.stats().pages_used, 0);
}

TEST_P(Promises, prefill_then_decode_is_one_forward) {
  const torch::NoGradGuard no_grad;
  for (const Completion& completion : {Engine(model_, options()).generate(requests_)[2]}) {
    std::vector<int32_t> ids = requests_[2].prompt;
    ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
    const Tensor row = torch::tensor(ids, torch::kInt64).to(model_->head_weight().device());
    const Tensor logits = model_->forward(row.unsqueeze(0))[0].to(torch::kFloat64);
    const Tensor logprobs = torch::log_softmax(logits, -1).to(torch::kCPU);
    for (size_t i = 0; i < completion.ids.size(); ++i) {
      const auto place = static_cast<int64_t>(requests_[2].prompt.size() + i) - 1;
      EXPECT_NEAR(logprobs[place][completion.ids[i]].item<double>(), completion.logprobs[i],
                  100 * GetParam().tolerance);
    }
  }
}

/// Residuals of two sequences' tokens, [N, D], whose rows come in turns, so many of them a step.
Tensor stepped(CausalLm& model, const EngineOptions& options, int64_t rows_of_a_step) {
  Memory memory(model, options);
  const std::vector<int64_t> slots = {memory.lease(200)->slot, memory.lease(100)->slot};
  const auto ids = random_ids(240, 9);
  std::vector<int64_t> rows, positions, next = {0, 0};
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t sequence = i % 7 < 5 ? 0 : 1;
    rows.push_back(slots[sequence]), positions.push_back(next[sequence]++);
  }
  const auto part = [&](const auto& values, int64_t first) {
    return torch::tensor(values, torch::kInt64)
        .slice(0, first, first + rows_of_a_step)
        .to(model->head_weight().device(), torch::kInt32);
  };
  std::vector<Tensor> residuals;
  for (int64_t first = 0; first < std::ssize(ids); first += rows_of_a_step) {
    residuals.push_back(model->step(part(std::vector<int64_t>(ids.begin(), ids.end()), first),
                                    {.slots = part(rows, first),
                                     .positions = part(positions, first),
                                     .page_table = memory.page_table()},
                                    memory.state()));
  }
  return torch::cat(residuals);
}

TEST_P(Promises, rows_of_one_sequence_in_one_step_are_as_one_at_a_time) {
  if (GetParam().device == torch::kCUDA) GTEST_SKIP() << "its kernels take a row a sequence";
  const Tensor expected = stepped(model_, options(), 1);
  for (const int64_t rows : {2, 5, 64, 240}) {
    EXPECT_TRUE(torch::equal(stepped(model_, options(), rows), expected)) << rows;
  }
}

TEST_P(Promises, recorded_steps_are_the_steps) {
  if (GetParam().device == torch::kCUDA) {
    EXPECT_EQ(why_no_step_kernels(model_), std::nullopt);
  }
  EngineOptions recorded = options();
  recorded.stepped_prompt = 300;  // a recorded prefill has other rows, whose products may differ
  EngineOptions plain = recorded;
  plain.uses_graphs = false;
  expect_equal(Engine(model_, recorded).generate(requests_),
               Engine(model_, plain).generate(requests_));
}

INSTANTIATE_TEST_SUITE_P(targets, Promises, testing::ValuesIn(cases()), [](const auto& test) {
  return std::string(test.param.name) + test.param.mixer;
});

class Requests : public testing::Test {
 protected:
  Requests() : model_(testing_support::tiny_hypenet_config()) {}

  static Request request(int64_t prompt, int64_t tokens) {
    Request request;
    request.prompt.assign(static_cast<size_t>(prompt), 5);
    request.options.max_tokens = tokens;
    return request;
  }

  CausalLm model_;
};

TEST_F(Requests, wait_for_memory_and_then_run) {
  Engine engine(model_, {.max_sequences = 2, .max_context = 64, .page_tokens = 64});
  for (int i = 0; i < 5; ++i) engine.submit(request(3, 4));
  engine.step();
  EXPECT_EQ(engine.stats().running, 2);
  EXPECT_EQ(engine.stats().waiting, 3);
  int64_t ended = 0;
  while (!engine.is_idle()) {
    for (const Event& event : engine.step()) ended += event.finish == FinishReason::kLength;
  }
  EXPECT_EQ(ended, 5);
  EXPECT_EQ(engine.stats().decoded_tokens, 20);
  EXPECT_EQ(engine.stats().prefilled_tokens, 15);
}

TEST_F(Requests, that_never_fit_are_refused_with_the_numbers) {
  Engine engine(model_, {.max_context = 64, .page_tokens = 64});
  EXPECT_ERROR(engine.submit(request(60, 5)),
               "engine: a sequence of prompt and answer: expected at most 64 tokens");
  EXPECT_EQ(engine.longest_sequence(), 64);
  engine.submit(request(60, 4));
  EXPECT_EQ(Engine(model_, {.memory_bytes = 196608, .max_sequences = 1}).longest_sequence(), 640);
  Engine small(model_, {.memory_bytes = 1000});
  EXPECT_ERROR(small.submit(request(1, 1)),
               "engine: memory: expected at least 160.0 KiB for the states of 16 sequences "
               "(128.0 KiB) and a page of 128 tokens (32.0 KiB), found 1000 B");
}

TEST_F(Requests, can_be_cancelled_waiting_or_running) {
  Engine engine(model_, {.max_sequences = 1});
  const int64_t first = engine.submit(request(3, 100)), second = engine.submit(request(3, 100));
  engine.step();
  engine.cancel(second), engine.cancel(first), engine.cancel(77);
  std::map<int64_t, FinishReason> ended;
  while (!engine.is_idle()) {
    for (const Event& event : engine.step()) {
      if (event.finish != FinishReason::kNone) ended[event.sequence] = event.finish;
    }
  }
  EXPECT_EQ(ended[first], FinishReason::kCancelled);
  EXPECT_EQ(ended[second], FinishReason::kCancelled);
  EXPECT_EQ(engine.stats().pages_used, 0);
}

TEST_F(Requests, with_impossible_settings_are_errors) {
  Engine engine(model_);
  Request bad = request(3, 0);
  EXPECT_ERROR(engine.submit(bad), "max_tokens: expected 1 to 16777216, found 0");
  bad = request(3, INT64_MAX);
  EXPECT_ERROR(engine.submit(bad), "max_tokens: expected 1 to 16777216, found 9223372036854775807");
  bad = request(3, 1), bad.options.sampling.top_p = 0;
  EXPECT_ERROR(engine.submit(bad), "top_p: expected 1e-06 to 1, found 0");
  bad = request(3, 1), bad.options.sampling.temperature = -1;
  EXPECT_ERROR(engine.submit(bad), "temperature: expected 0, or 1e-06 to 1e+06, found -1");
  bad = request(3, 1), bad.options.sampling.logit_bias = {{64, 1.F}};
  EXPECT_ERROR(engine.submit(bad), "logit_bias: expected ids from 0 to 63, found 64");
  EXPECT_ERROR(Engine(model_, {.page_tokens = 100}).submit(request(1, 1)),
               "page_tokens: expected a multiple of 64, found 100");
}

TEST_F(Requests, end_where_logits_are_not_finite) {
  const torch::NoGradGuard no_grad;
  model_->layer(0)->parameters()[0].fill_(NAN);
  Engine engine(model_);
  EXPECT_ERROR(engine.generate(std::vector<Request>{request(3, 4)}),
               "logits of request 0: expected finite numbers, found nan or infinity");
  EXPECT_TRUE(engine.is_idle());
  EXPECT_EQ(engine.stats().pages_used, 0);
}

TEST_F(Requests, whose_logits_fail_end_alone) {
  Engine engine(model_);
  Request bad = request(3, 4);
  for (int32_t id = 0; id < 64; ++id) bad.options.sampling.logit_bias.emplace_back(id, -INFINITY);
  const int64_t failing = engine.submit(bad), good = engine.submit(request(3, 4));
  std::map<int64_t, FinishReason> ended;
  while (!engine.is_idle()) {
    for (const Event& event : engine.step()) {
      if (event.finish != FinishReason::kNone) ended[event.sequence] = event.finish;
    }
  }
  EXPECT_EQ(ended[failing], FinishReason::kNoToken);
  EXPECT_EQ(ended[good], FinishReason::kLength);
}

TEST_F(Requests, refused_together_leave_nothing_behind) {
  Engine engine(model_, {.max_context = 64, .page_tokens = 64});
  EXPECT_ERROR(engine.generate(std::vector<Request>{request(3, 4), request(60, 5)}),
               "expected at most 64 tokens");
  EXPECT_TRUE(engine.is_idle());
  EXPECT_EQ(engine.generate(std::vector<Request>{request(3, 4)})[0].ids.size(), 4U);
}

TEST_F(Requests, end_when_they_are_stopped) {
  Engine engine(model_);
  int steps = 0;
  const auto completions = engine.generate(std::vector<Request>{request(600, 100), request(3, 100)},
                                           {}, [&] { return ++steps > 2; });
  for (const Completion& completion : completions) {
    EXPECT_EQ(completion.finish, FinishReason::kCancelled);
    EXPECT_LT(completion.ids.size(), 5U);
  }
  EXPECT_EQ(engine.stats().pages_used, 0);
}

TEST(RequestsWithoutAttention, need_no_pages) {
  ModelConfig config = testing_support::tiny_hypenet_config();
  config.mixer_types.assign(3, &kLightningMixer);
  Engine engine(CausalLm(config), {.memory_bytes = 1 << 20, .max_sequences = 2});
  Request long_one;
  long_one.prompt.assign(1000, 5);
  long_one.options.max_tokens = 10;
  for (const Completion& completion :
       engine.generate(std::vector<Request>{long_one, long_one, long_one})) {
    EXPECT_EQ(completion.ids.size(), 10U);
  }
  EXPECT_EQ(engine.stats().pages, 0);
}

}  // namespace
}  // namespace hypenet
