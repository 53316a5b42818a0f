// JetBlock, Mamba-2, Native Hybrid Attention, RWKV-7 and SUPRA, whole, with the numbers of other
// code (tests/data/mixers). The laws that hold for any weights are in tests/mixers.
#include "tests/support/mixer_layers.h"

#include <cmath>

#include "model/mixers/jet.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "model/mixers/supra.h"

namespace hypenet {
namespace {

using testing_support::MixerLayer;
using testing_support::StoredMixer;

void configure_mamba2(ModelConfig& config) {
  config.hidden_size = 64;
  config.mixers.of<Mamba2Config>() = {
      .num_heads = 4, .num_key_value_heads = 2, .head_dim = 16, .hidden_act = "silu"};
}

void configure_nha(ModelConfig& config) {
  config.mixers.of<NhaConfig>() = {
      .num_heads = 4, .num_key_value_heads = 2, .head_dim = 16, .num_slots = 8, .window_size = 16};
}

/// The layer of RWKV itself.
void configure_rwkv7(ModelConfig& config) {
  config.hidden_size = 48;
  config.mixers.of<Rwkv7Config>() = {.num_heads = 3,
                                     .num_key_value_heads = 3,
                                     .head_size = 16,
                                     .lora_rank_decay = 8,
                                     .lora_rank_iclr = 8,
                                     .lora_rank_gate = 10,
                                     .lora_rank_value_residual_mix = 6,
                                     .group_norm_eps = 64e-5,
                                     .use_rope = false,
                                     .use_tokenshift = true,
                                     .use_bonus = true,
                                     .use_v_first = true};
}

/// RADLADS' layers.
void configure_radlads(ModelConfig& config) {
  config.attention_bias = true;
  config.mixers.of<Rwkv7Config>() = {.num_heads = 4,
                                     .num_key_value_heads = 2,
                                     .head_size = 16,
                                     .lora_rank_decay = 8,
                                     .lora_rank_iclr = 8,
                                     .lora_rank_gate = 10,
                                     .lora_rank_value_residual_mix = 6,
                                     .use_v_first = true};
}

void configure_balanced(ModelConfig& config) {
  configure_radlads(config);
  auto& rwkv = config.mixers.of<Rwkv7Config>();
  rwkv.balance_state = true, rwkv.groupnorm_att = false;
}

void configure_supra(ModelConfig& config) {
  config.hidden_size = 64;
  config.mixers.of<SupraConfig>() = {.n_heads = 4, .n_heads_kv = 2, .qk_head_dim = 16};
}

void configure_supra_without_decay(ModelConfig& config) {
  config.hidden_size = 64;
  config.mixers.of<SupraConfig>() = {
      .n_heads = 4, .n_heads_kv = 4, .qk_head_dim = 16, .use_decay = false};
}

void configure_jet(ModelConfig& config) {
  config.mixers.of<JetConfig>() = {.num_heads = 2, .head_dim = 16, .expand_v = 2};
}

const MixerLayer kLayers[] = {
    {"jet", &kJetMixer, "layer0", configure_jet},
    {"mamba2", &kMamba2Mixer, "layer0", configure_mamba2},
    {"mamba2_two_rows", &kMamba2Mixer, "layer1", configure_mamba2},
    {"nha", &kNhaMixer, "layer0", configure_nha},
    {"rwkv7", &kRwkv7Mixer, "layer0", configure_rwkv7},
    {"rwkv7_first_of_a_model", &kRwkv7Mixer, "layer1", configure_rwkv7},
    {"rwkv7_of_radlads", &kRwkv7Mixer, "layer2", configure_radlads},
    {"rwkv7_of_radlads_balanced", &kRwkv7Mixer, "layer3", configure_balanced},
    {"supra_grouped", &kSupraMixer, "layer0", configure_supra},
    {"supra_without_decay", &kSupraMixer, "layer1", configure_supra_without_decay}};

class MixerLayers : public testing::TestWithParam<MixerLayer> {
 protected:
  std::shared_ptr<TokenMixer> mixer(torch::ScalarType type) const {
    const auto mixer = stored_.mixer(type);
    // RWKV's own names.
    stored_.take_published(*mixer, {{"q_proj.weight", "p.receptance.weight"},
                                    {"k_proj.weight", "p.key.weight"},
                                    {"v_proj.weight", "p.value.weight"},
                                    {"o_proj.weight", "p.output.weight"}});
    return mixer;
  }

  StoredMixer stored_{GetParam()};
};

TEST_P(MixerLayers, give_the_outputs_and_gradients_that_were_computed_elsewhere) {
  stored_.expect_results_in_wide_types([this](torch::ScalarType type) { return mixer(type); });
}

TEST_P(MixerLayers, prefill_and_steps_go_on_as_one_forward_in_every_type) {
  stored_.expect_every_cut([this](torch::ScalarType type) { return mixer(type); });
}

INSTANTIATE_TEST_SUITE_P(Layers, MixerLayers, testing::ValuesIn(kLayers),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(NhaWindow, tokens_go_through_a_window_that_is_shorter_than_the_sequence) {
  const MixerLayer layer{"", &kNhaMixer, "layer0", [](ModelConfig& config) {
                           configure_nha(config);
                           config.mixers.of<NhaConfig>().window_size = 3;
                         }};
  const StoredMixer stored(layer);
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 1e-5}}) {
    const auto mixer = stored.mixer(type);
    for (int64_t cut = 1; cut <= 9; ++cut) stored.expect_any_cut(*mixer, cut, type, tolerance);
  }
}

TEST(Rwkv7Start, decays_reach_from_long_to_short_memory) {
  const Tensor first = new_rwkv7_decays(100, 0), last = new_rwkv7_decays(100, 1);
  EXPECT_FLOAT_EQ(first[0].item<float>(), -6.5);
  EXPECT_FLOAT_EQ(first[99].item<float>(), -1.5);
  EXPECT_TRUE((last <= first + 1e-6).all().item<bool>()) << "deeper layers remember longer";
}

TEST(SupraDecay, is_lightnings_retnets_or_none) {
  SupraConfig config{.n_heads = 4, .use_decay = false};
  EXPECT_EQ(config.decay().abs().max().item<float>(), 0);
  config.use_decay = true;
  EXPECT_FLOAT_EQ(config.decay()[3].item<float>(), std::exp2(-8.0F));
  config.use_retnet_slopes = true;
  EXPECT_NEAR((-config.decay()).exp()[1].item<float>(), 1 - std::exp2(-6.0F), 1e-7);
}

}  // namespace
}  // namespace hypenet
