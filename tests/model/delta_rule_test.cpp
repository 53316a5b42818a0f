// Gated DeltaNet and Kimi Delta Attention, whole, with the numbers of other code
// (tests/data/mixers). The laws that hold for any weights are in tests/mixers.
#include "model/mixers/delta_rule.h"

#include <cmath>

#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "tests/support/mixer_layers.h"

namespace hypenet {
namespace {

using testing_support::MixerLayer;
using testing_support::StoredMixer;

const MixerLayer kLayers[] = {
    {"gdn_of_hypenet", &kGdnMixer, "layer0",
     [](ModelConfig& config) {
       config.mixers.of<GdnConfig>() = {.nh = 4,
                                        .nkv = 4,
                                        .head_dim = 16,
                                        .use_gate = true,
                                        .use_qk_norm = true,
                                        .use_rope = true};
     }},
    {"gdn_bare_and_grouped", &kGdnMixer, "layer1",
     [](ModelConfig& config) {
       config.mixers.of<GdnConfig>() = {.nh = 4, .nkv = 2, .head_dim = 16, .activation = "silu"};
     }},
    {"gdn_with_convolution", &kGdnMixer, "layer2",
     [](ModelConfig& config) {
       config.rms_norm_eps = 1e-5;
       config.mixers.of<GdnConfig>() = {.nh = 2,
                                        .nkv = 2,
                                        .head_dim = 16,
                                        .num_v_heads = 4,
                                        .expand_v = 2,
                                        .use_gate = true,
                                        .use_short_conv = true,
                                        .activation = "silu",
                                        .allow_neg_eigval = false};
     }},
    {"kda_with_rope", &kKdaMixer, "layer0",
     [](ModelConfig& config) {
       config.mixers.of<KdaConfig>() = {.head_dim = 16, .num_heads = 4, .use_rope = true};
     }},
    {"kda_without_rope", &kKdaMixer, "layer1",
     [](ModelConfig& config) { config.mixers.of<KdaConfig>() = {.head_dim = 16, .num_heads = 4}; }},
    {"kda_with_convolution", &kKdaMixer, "layer2", [](ModelConfig& config) {
       config.rms_norm_eps = 1e-5;
       config.mixers.of<KdaConfig>() = {.head_dim = 16,
                                        .num_heads = 4,
                                        .use_conv = true,
                                        .use_qk_norm = false,
                                        .lower_bound = -5,
                                        .use_gate_bias = true};
     }}};

class DeltaLayers : public testing::TestWithParam<MixerLayer> {
 protected:
  std::shared_ptr<TokenMixer> mixer(torch::ScalarType type) const {
    const auto mixer = stored_.mixer(type);
    // flash-linear-attention's names of kda's low-rank parts.
    stored_.take_published(*mixer, {{"f_a_proj.weight", "p.f_proj.0.weight"},
                                    {"f_b_proj.weight", "p.f_proj.1.weight"},
                                    {"g_a_proj.weight", "p.g_proj.0.weight"},
                                    {"g_b_proj.weight", "p.g_proj.1.weight"},
                                    {"g_b_proj.bias", "p.g_proj.1.bias"}});
    return mixer;
  }

  StoredMixer stored_{GetParam()};
};

TEST_P(DeltaLayers, give_the_outputs_and_gradients_that_were_computed_elsewhere) {
  stored_.expect_results_in_wide_types([this](torch::ScalarType type) { return mixer(type); });
}

TEST_P(DeltaLayers, prefill_and_steps_go_on_as_one_forward_in_every_type) {
  stored_.expect_every_cut([this](torch::ScalarType type) { return mixer(type); });
}

INSTANTIATE_TEST_SUITE_P(Layers, DeltaLayers, testing::ValuesIn(kLayers),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DeltaStart, decays_reach_from_short_to_long_memory) {
  torch::manual_seed(4);
  const Tensor rates = new_log_rates({1000}, 1).exp(), steps = new_time_steps({1000});
  EXPECT_GE(rates.min().item<float>(), 1);
  EXPECT_LE(rates.max().item<float>(), 16);
  EXPECT_NEAR(rates.mean().item<float>(), 8.5, 0.5);
  EXPECT_NEAR(steps.log().mean().item<float>(), std::log(0.01), 0.15);
  EXPECT_TRUE(torch::allclose(torch::softplus(inverse_softplus(steps)), steps, 1e-4));
}

}  // namespace
}  // namespace hypenet
