// Engines that keep prompts, for tests: small models on each device, budgets in pages and
// snapshots.
#pragma once

#include <gmock/gmock.h>
#include <torch/cuda.h>

#include "base/random.h"
#include "engine/engine.h"
#include "model/decode_state.h"
#include "tests/support/target.h"
#include "tests/support/tiny_model.h"

namespace hypenet {

inline constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-4},
    {"cpu_bfloat16_weights", torch::kCPU, torch::kFloat32, torch::kBFloat16, 1e-4},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kBFloat16, 2e-2},
};

inline constexpr int64_t kVocabulary = 100, kPage = 64, kSlots = 4;

/// Heads of a size that a GPU's kernels take, if `for_gpu`.
inline ModelConfig config_of(std::vector<const MixerKind*> layers, bool for_gpu) {
  ModelConfig config = testing_support::tiny_hypenet_config();
  const int64_t head = for_gpu ? 64 : 16;
  config.hidden_size = 40, config.intermediate_size = 56, config.vocab_size = kVocabulary;
  config.num_attention_heads = 2, config.num_key_value_heads = 1, config.head_dim = head;
  config.mixers.of<LightningConfig>() = {.nh = 2, .nkv = 2, .head_dim = head};
  config.num_hidden_layers = std::ssize(layers);
  config.mixer_types = std::move(layers);
  return config;
}

inline std::vector<int32_t> random_ids(int64_t length, Random& random) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>(random.below(kVocabulary)));
  }
  return ids;
}

/// What the tests' engines hold, in states and pages.
struct Budget {
  int64_t pages = 40;      // of sequences and kept prompts
  int64_t snapshots = 20;  // on the device
  int64_t host_snapshots = 0, host_pages = 0;
};

class Reuse : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
    make_model({&kLightningMixer, &kAttentionMixer, &kLightningMixer});
  }

  void make_model(std::vector<const MixerKind*> layers) {
    torch::manual_seed(3);
    model_ = CausalLm(config_of(std::move(layers), !is_cpu()));
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : model_->parameters()) {
        if (parameter.dim() > 1) parameter.mul_(6);
      }
    }
    model_->to(torch::Device(GetParam().device), GetParam().weight_type);
    model_->prepare({.type = GetParam().type});
    state_bytes_ = slot_bytes(model_->config(), model_->memory_types());
    page_bytes_ = page_bytes(model_->config(), model_->memory_types(), kPage);
  }

  EngineOptions options(const Budget& budget) const {
    const bool has_both = state_bytes_ > 0 && page_bytes_ > 0;
    const auto bytes = [&](int64_t snapshots, int64_t pages) {
      if (!has_both) return snapshots * state_bytes_ + pages * page_bytes_;
      return 2 * std::max(snapshots * state_bytes_, pages * page_bytes_);
    };
    EngineOptions options = plain();
    options.cache_bytes =
        has_both ? 2 * budget.snapshots * state_bytes_ : bytes(budget.snapshots, budget.pages / 2);
    options.cache_host_bytes = bytes(budget.host_snapshots, budget.host_pages);
    options.memory_bytes = (kSlots + budget.snapshots) * state_bytes_ + budget.pages * page_bytes_;
    return options;
  }

  static EngineOptions plain() {
    return {.memory_bytes = int64_t{256} << 20,
            .max_sequences = kSlots,
            .max_context = 1280,
            .page_tokens = kPage,
            .prefill_chunk = 128,
            .grid_min = 40,
            .poisons_freed_memory = true};
  }

  Completion alone(Request request) {
    request.reuse = ReuseMode::kOff;
    EngineOptions options = plain();
    options.max_sequences = 1, options.max_context = 0,
    options.memory_bytes = state_bytes_ + 16 * page_bytes_;
    return Engine(model_, options).generate({&request, 1}).front();
  }

  bool is_cpu() const { return GetParam().device == torch::kCPU; }

  CausalLm model_{nullptr};
  int64_t state_bytes_ = 0, page_bytes_ = 0;
};

/// What came of a request.
struct Found {
  Request request;
  Completion completion;
  std::shared_ptr<const PromptReport> report = {};
  std::vector<int64_t> read = {};  // the events of its prompt's pieces
  bool is_cancelled = false;
};

inline void take(const Event& event, Found& found) {
  if (event.report) found.report = event.report;
  if (event.read > 0) found.read.push_back(event.read);
  if (event.finish != FinishReason::kNone) found.completion.finish = event.finish;
  if (event.id < 0) return;
  found.completion.ids.push_back(event.id);
  found.completion.logprobs.push_back(event.logprob);
}

}  // namespace hypenet
