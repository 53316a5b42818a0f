// One training step's forward and backward of mixers as conversions and publications have them, in
// sizes that a GPU has kernels for, against the same mixer in float64 on a CPU.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "model/mixers/gdn.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/rwkv7.h"
#include "tests/support/compare.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

struct Layer {
  const char* name;
  const MixerKind* kind;
  void (*configure)(MixerConfigs& configs);
};

void PrintTo(const Layer& layer, std::ostream* out) { *out << layer.name; }

/// Nine heads: rows of its projection have no whole number of eights.
void converted_mamba2(MixerConfigs& configs) {
  configs.of<Mamba2Config>() = {.num_heads = 9,
                                .num_key_value_heads = 3,
                                .head_dim = 64,
                                .hidden_act = "silu",
                                .use_rope = true,
                                .use_z_bias = true};
}

void discrete_mamba2(MixerConfigs& configs) {
  configs.of<Mamba2Config>() = {.num_heads = 4,
                                .num_key_value_heads = 4,
                                .head_dim = 64,
                                .is_discrete = true,
                                .use_z_bias = true};
}

void converted_rwkv7(MixerConfigs& configs) {
  configs.of<Rwkv7Config>() = {.num_heads = 6,
                               .num_key_value_heads = 2,
                               .head_size = 64,
                               .lora_rank_decay = 8,
                               .lora_rank_iclr = 8,
                               .lora_rank_gate = 16};
}

void balanced_rwkv7(MixerConfigs& configs) {
  converted_rwkv7(configs);
  auto& rwkv = configs.of<Rwkv7Config>();
  rwkv.balance_state = true, rwkv.gate_rank_type = 1;
}

/// The layer of RWKV itself.
void own_rwkv7(MixerConfigs& configs) {
  converted_rwkv7(configs);
  auto& rwkv = configs.of<Rwkv7Config>();
  rwkv.num_key_value_heads = 6;
  rwkv.use_rope = false, rwkv.use_tokenshift = rwkv.use_bonus = true;
}

void convolved_gdn(MixerConfigs& configs) {
  auto& gdn = configs.of<GdnConfig>();
  gdn.nh = gdn.nkv = 2, gdn.head_dim = 64, gdn.use_short_conv = true, gdn.activation = "silu";
}

const Layer kLayers[] = {{"mamba2", &kMamba2Mixer, converted_mamba2},
                         {"mamba2_discrete", &kMamba2Mixer, discrete_mamba2},
                         {"rwkv7", &kRwkv7Mixer, converted_rwkv7},
                         {"rwkv7_balanced", &kRwkv7Mixer, balanced_rwkv7},
                         {"rwkv7_own", &kRwkv7Mixer, own_rwkv7},
                         {"gdn_convolved", &kGdnMixer, convolved_gdn}};

constexpr int64_t B = 2, T = 70, D = 64;

ModelConfig config_of(const Layer& layer) {
  ModelConfig config;
  config.hidden_size = D, config.num_attention_heads = config.num_key_value_heads = 4;
  config.head_dim = 64, config.mixer_types = {layer.kind};
  layer.configure(config.mixers);
  return config;
}

std::shared_ptr<TokenMixer> drawn_mixer(const Layer& layer) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(17);
  const auto mixer = layer.kind->make(config_of(layer), 0);
  mixer->draw_own_parameters();
  for (auto& item : mixer->named_parameters()) {
    Tensor& parameter = item.value();
    if (parameter.dim() == 2) {
      parameter.normal_(0, 1 / std::sqrt(static_cast<double>(parameter.size(1))));
    } else {
      parameter.add_(0.1 * torch::randn_like(parameter));
    }
  }
  return mixer;
}

/// Output, then the gradients of x and of all parameters.
std::vector<Tensor> results(TokenMixer& mixer, const Tensor& given) {
  Context context;
  context.positions = torch::arange(T);
  const RopeAngles angles = rope_angles(context.positions, rope_frequencies(64, 10000));
  context.angles = {angles.cos.to(given.device()), angles.sin.to(given.device())};
  context.positions = context.positions.to(given.device());
  const Tensor x = given.detach().requires_grad_();
  const Tensor y = mixer.forward(x, context);
  torch::manual_seed(23);
  const Tensor cotangent = torch::randn(y.sizes()).to(torch::kBFloat16);
  std::vector<Tensor> leaves = mixer.parameters();
  leaves.insert(leaves.begin(), x);
  std::vector<Tensor> all =
      torch::autograd::grad({y}, leaves, {cotangent.to(y.device(), y.scalar_type())});
  all.insert(all.begin(), y.detach());
  return all;
}

// Some keys of RWKV-7's own layer are so short that bfloat16 turns them by a tenth.
constexpr Target kTargets[] = {
    {"cpu_float32", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-4},
    {"cuda_float32", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-3},
    {"cuda_bfloat16", torch::kCUDA, torch::kBFloat16, torch::kFloat32, 0.25}};

class MixerTraining : public testing::TestWithParam<std::tuple<Layer, Target>> {};

TEST_P(MixerTraining, has_the_gradients_of_float64) {
  const auto& [layer, target] = GetParam();
  if (target.device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
  const auto mixer = drawn_mixer(layer), exact = drawn_mixer(layer);
  torch::manual_seed(19);
  const Tensor x = torch::randn({B, T, D}).to(target.type);
  exact->to(torch::kFloat64);
  const std::vector<Tensor> expected = results(*exact, x.to(torch::kFloat64));
  mixer->to(target.device);
  const std::vector<Tensor> found = results(*mixer, x.to(target.device));
  std::vector<std::string> names = {"output", "x"};
  for (const auto& item : mixer->named_parameters()) names.push_back(item.key());
  ASSERT_EQ(found.size(), names.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(relative_rms(found[i], expected[i]), target.tolerance) << names[i];
  }
}

INSTANTIATE_TEST_SUITE_P(, MixerTraining,
                         testing::Combine(testing::ValuesIn(kLayers), testing::ValuesIn(kTargets)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace hypenet
