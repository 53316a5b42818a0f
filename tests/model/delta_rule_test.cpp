// Gated DeltaNet and Kimi Delta Attention, whole, with the numbers of other code
// (tests/data/mixers). The laws that hold for any weights are in tests/mixers.
#include "model/mixers/delta_rule.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "store/safetensors.h"

namespace hypenet {
namespace {

struct Layer {
  const char* name;
  const MixerKind* kind;
  const char* fixture;
  void (*configure)(ModelConfig& config);
};

void PrintTo(const Layer& layer, std::ostream* out) { *out << layer.name; }

const Layer kLayers[] = {
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

/// The name in the file; layer2 of kda has those of flash-linear-attention.
std::string stored_name(std::string name, const SafetensorsFile& file, const std::string& prefix) {
  if (file.contains(prefix + name)) return prefix + name;
  for (const auto& [own, other] :
       {std::pair{"_a_proj", "_proj.0"}, std::pair{"_b_proj", "_proj.1"}}) {
    if (const size_t place = name.find(own); place != name.npos) {
      name.replace(place, std::string_view(own).size(), other);
      break;
    }
  }
  return prefix + name;
}

/// What a context of these positions holds.
Context context_of(int64_t begin, int64_t count) {
  Context context;
  context.positions = torch::arange(begin, begin + count);
  context.angles = rope_angles(context.positions, rope_frequencies(16, 10000));
  return context;
}

double relative_error(const Tensor& found, const Tensor& expected) {
  const Tensor wide = expected.to(torch::kFloat64);
  return ((found.to(torch::kFloat64) - wide).abs().max() / wide.abs().max()).item<double>();
}

class DeltaLayers : public testing::TestWithParam<Layer> {
 protected:
  DeltaLayers() : file_(HYPENET_TEST_DATA "/mixers/" + file_name()) {
    config_.hidden_size = 32, config_.num_attention_heads = config_.num_key_value_heads = 4;
    config_.head_dim = 16, config_.attn_use_rope = false;
    config_.mixer_types = {GetParam().kind};
    GetParam().configure(config_);
  }

  static std::string file_name() {
    return std::string(GetParam().kind->name) + "-layers.safetensors";
  }

  Tensor tensor(const std::string& name, torch::ScalarType type) const {
    return file_.tensor(concat(GetParam().fixture, ".", name)).to(type, false, /*copy=*/true);
  }

  /// With the file's parameters.
  std::shared_ptr<TokenMixer> mixer(torch::ScalarType type) const {
    const auto mixer = GetParam().kind->make(config_);
    for (auto& item : mixer->named_parameters()) {
      const std::string prefix = concat(GetParam().fixture, ".p.");
      const Tensor stored = file_.tensor(stored_name(item.key(), file_, prefix));
      item.value().set_data(stored.to(type, false, true).view(item.value().sizes()));
    }
    return mixer;
  }

  SafetensorsFile file_;
  ModelConfig config_;
};

TEST_P(DeltaLayers, give_the_outputs_and_gradients_that_were_computed_elsewhere) {
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 2e-5}}) {
    SCOPED_TRACE(torch::toString(type));
    const auto mixer = this->mixer(type);
    const Tensor x = tensor("x", type).requires_grad_();
    const Tensor y = mixer->forward(x, context_of(0, x.size(1)));
    EXPECT_LT(relative_error(y, tensor("y", torch::kFloat64)), tolerance);
    std::vector<Tensor> leaves = {x}, expected = {tensor("grad.x", torch::kFloat64)};
    for (const auto& item : mixer->named_parameters()) {
      const std::string name = concat("grad.p.", item.key());
      if (!file_.contains(concat(GetParam().fixture, ".", name))) continue;
      leaves.push_back(item.value());
      expected.push_back(tensor(name, torch::kFloat64));
    }
    const auto found = torch::autograd::grad({y}, leaves, {tensor("d_y", type)});
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LT(relative_error(found[i], expected[i]), tolerance) << i;
    }
    EXPECT_EQ(found.size() > 1, std::string_view(GetParam().fixture) == "layer0");
  }
}

TEST_P(DeltaLayers, prefill_and_steps_go_on_as_one_forward_in_every_type) {
  const torch::NoGradGuard no_grad;
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat64, 1e-6}, std::pair{torch::kFloat32, 1e-5},
        std::pair{torch::kBFloat16, 3e-2}}) {
    torch::manual_seed(3);
    const auto mixer = this->mixer(type);
    const auto states = type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    RmsNorm norm(32, 1e-6);
    norm->to(type);
    const Tensor h = torch::randn({1, 9, 32}).to(type), x = norm(h);
    const Tensor expected = mixer->forward(x, context_of(0, 9))[0];
    for (int64_t cut = 1; cut <= 9; ++cut) {
      SCOPED_TRACE(c10::str(torch::toString(type), ", cut at ", cut));
      LayerMemory memory = new_states(*GetParam().kind, config_, 1, states);
      std::vector<Tensor> rows = {
          mixer->prefill(x.narrow(1, 0, cut), context_of(0, cut), {.slot = 0}, memory)[0]};
      for (int64_t t = cut; t < 9; ++t) {
        const StepOutput output = mixer->step({h[0].narrow(0, t, 1), norm},
                                              {.slots = torch::zeros({1}, torch::kInt32),
                                               .positions = torch::full({1}, t, torch::kInt32),
                                               .page_table = {},
                                               .angles = context_of(t, 1).angles},
                                              memory);
        rows.push_back(torch::zeros({1, 32}, h.options()));
        add_step(rows.back(), output);
      }
      EXPECT_LT(relative_error(torch::cat(rows), expected), tolerance);
    }
  }
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
