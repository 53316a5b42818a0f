// A GPU's short prefills: however often a size came before, the same bits, and what an unrecorded
// prefill gives.
#include "model/prefill_recording.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

TEST(PrefillRecording, rows_are_a_function_of_the_tokens) {
  EXPECT_EQ(recorded_rows(1), 64);
  EXPECT_EQ(recorded_rows(64), 64);
  EXPECT_EQ(recorded_rows(65), 128);
  EXPECT_EQ(recorded_rows(513), 640);
  EXPECT_EQ(recorded_rows(1025), 1280);
  EXPECT_EQ(recorded_rows(2048), 2048);
  EXPECT_EQ(recorded_rows(2049), 0);
}

/// With lightning attention, or these in its place.
class RecordedPrefill : public testing::TestWithParam<const MixerKind*> {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    torch::manual_seed(5);
    ModelConfig config = testing_support::tiny_hypenet_config();
    config.hidden_size = 128, config.intermediate_size = 192, config.vocab_size = 500;
    config.num_attention_heads = 4, config.num_key_value_heads = 2, config.head_dim = 64;
    config.mixers.of<LightningConfig>() = {.nh = 4, .nkv = 2, .head_dim = 64};
    config.attn_logits_scaling = {LogitsScaling::Kind::kLogPosition, 40};
    config.mixers.of<GdnConfig>() = {.nh = 2,
                                     .nkv = 2,
                                     .head_dim = 64,
                                     .num_v_heads = 4,
                                     .use_gate = true,
                                     .use_short_conv = true,
                                     .activation = "silu"};
    config.mixers.of<KdaConfig>() = {.head_dim = 64, .num_heads = 4, .use_rope = true};
    config.mixers.of<Rwkv7Config>() = {.num_heads = 4,
                                       .num_key_value_heads = 2,
                                       .head_size = 64,
                                       .lora_rank_decay = 32,
                                       .lora_rank_iclr = 32,
                                       .lora_rank_gate = 32,
                                       .use_tokenshift = true};
    config.mixers.of<NhaConfig>() = {.num_heads = 4,
                                     .num_key_value_heads = 2,
                                     .head_dim = 64,
                                     .num_slots = 64,
                                     .window_size = 48};
    std::ranges::replace(config.mixer_types, &kLightningMixer, GetParam());
    model_ = CausalLm(config);
    {
      const torch::NoGradGuard no_grad;
      for (Tensor& parameter : model_->parameters()) {
        if (parameter.dim() == 2) parameter.mul_(6);
      }
    }
    model_->to(torch::kCUDA, torch::kBFloat16);
    model_->prepare({.type = torch::kBFloat16, .logits_scaling = config.attn_logits_scaling});
    state_.emplace(config, MemorySizes{.slots = 2, .pages = 12, .page_tokens = 64},
                   model_->memory_types(), torch::kCUDA);
    memory_.emplace(torch::kCUDA);
    options_ = torch::TensorOptions(torch::kInt64).device(torch::kCUDA);
    pages_ = torch::arange(11, -1, -1, options_);
  }

  /// All that a chunk leaves: residual, states and pages.
  std::vector<Tensor> left_by(const std::function<Tensor()>& prefill) {
    state_->clear_slot(1);
    for (int32_t page = 0; page < 12; ++page) {
      for (const Tensor& part : state_->bytes_of_page(page)) part.zero_();
    }
    std::vector<Tensor> left = {prefill()};
    for (const Tensor& part : state_->bytes_of_slot(1)) left.push_back(part.clone());
    for (int32_t page = 0; page < 12; ++page) {
      for (const Tensor& part : state_->bytes_of_page(page)) left.push_back(part.clone());
    }
    return left;
  }

  CausalLm model_{nullptr};
  std::optional<DecodeState> state_;
  std::optional<GraphMemory> memory_;
  torch::TensorOptions options_;
  Tensor pages_;
};

TEST_P(RecordedPrefill, runs_of_any_number_have_the_same_bits) {
  const torch::NoGradGuard no_grad;
  PrefillRecording small(model_, *state_, *memory_, 64), large(model_, *state_, *memory_, 128);
  const Tensor ids = torch::randint(0, 500, {600}, options_);
  const auto run = [&](const std::vector<int64_t>& chunks) {
    return left_by([&] {
      int64_t past = 0;
      Tensor last;
      for (const int64_t count : chunks) {
        PrefillRecording& recording = count <= 64 ? small : large;
        last =
            recording.run(ids.narrow(0, past, count), {.slot = 1, .past = past, .pages = pages_});
        past += count;
      }
      return last;
    });
  };
  for (const std::vector<int64_t>& chunks :
       {std::vector<int64_t>{50}, {64, 100, 3, 64}, {128, 128, 128, 1}}) {
    const std::vector<Tensor> first = run(chunks);
    EXPECT_TRUE(first[0].isfinite().all().item<bool>());
    for (int again = 0; again < 4; ++again) {
      run({90, 30});  // others between
      const std::vector<Tensor> found = run(chunks);
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_TRUE(torch::equal(found[i], first[i])) << chunks[0] << ", part " << i;
      }
    }
  }
}

TEST_P(RecordedPrefill, it_is_the_prefill) {
  const torch::NoGradGuard no_grad;
  PrefillRecording recording(model_, *state_, *memory_, 128);
  const Tensor ids = torch::randint(0, 500, {300}, options_);
  for (int64_t i = 0; i < 4; ++i) {
    const auto run = [&](auto&& prefill) {
      return left_by([&] {
        const Tensor first = prefill(ids.narrow(0, 0, 100), 0);
        return torch::cat({first, prefill(ids.narrow(0, 100, 77), 100)});
      });
    };
    const auto expected = run([&](const Tensor& chunk, int64_t past) {
      return model_->prefill(chunk, {.slot = 1, .past = past, .pages = pages_}, *state_);
    });
    const auto found = run([&](const Tensor& chunk, int64_t past) {
      return recording.run(chunk, {.slot = 1, .past = past, .pages = pages_});
    });
    const double size = expected[0].to(torch::kFloat32).square().mean().sqrt().item<double>();
    const double error =
        (found[0] - expected[0]).to(torch::kFloat32).square().mean().sqrt().item<double>();
    EXPECT_LT(error / size, 2e-2) << "run " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(mixers, RecordedPrefill,
                         testing::Values(&kLightningMixer, &kGdnMixer, &kKdaMixer, &kRwkv7Mixer,
                                         &kNhaMixer),
                         [](const auto& info) {
                           return std::string(info.param->name.substr(0, 3));
                         });

}  // namespace
}  // namespace hypenet
