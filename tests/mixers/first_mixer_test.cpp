// A mixer of one's own, whole: docs/first-mixer.md walks through this file. The two tables at its
// end replace the program's in this test program, and all laws of this folder run for it.
#include <gtest/gtest.h>

#include "halo/twins/gdn.h"
#include "halo/twins/kda.h"
#include "halo/twins/lightning.h"
#include "halo/twins/mamba2.h"
#include "halo/twins/nha.h"
#include "halo/twins/rwkv7.h"
#include "halo/twins/supra.h"
#include "model/mixers/attention.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/lightning.h"
#include "model/mixers/mamba2.h"
#include "model/mixers/nha.h"
#include "model/mixers/rwkv7.h"
#include "model/mixers/supra.h"
#include "ops/gating.h"

namespace hypenet {
namespace {

/// Keys of its own in config.json.
struct DecayedMeanConfig {
  int64_t size = 0;    // channels
  double decay = 0.9;  // a
  template <class Visitor>
  void visit(Visitor&& field) {
    field("decayed_mean_size", size);
    field("decayed_mean_decay", decay);
  }
};

/// m_t = a m_{t-1} + (1 - a) v_proj x_t;  y_t = o_proj(m_t * sigmoid(z_proj x_t)).
class DecayedMean : public TokenMixer {
 public:
  explicit DecayedMean(const ModelConfig& config)
      : decay_(config.mixers.of<DecayedMeanConfig>().decay) {
    const int64_t D = config.hidden_size, size = config.mixers.of<DecayedMeanConfig>().size;
    v_proj_ = register_module("v_proj", Linear(D, size, config.attention_bias));
    z_proj_ = register_module("z_proj", Linear(D, size, false));
    o_proj_ = register_module("o_proj", Linear(size, D, config.attention_output_bias));
  }

  Tensor forward(const Tensor& x, const Context& context) override {
    const auto [values, gate] = project(x, {v_proj_, z_proj_});
    Tensor v = context.to_rows(values);  // [B, T, size]
    if (context.valid.defined()) v = v * context.valid;
    return o_proj_(sigmoid_gate(context.from_rows(mix(v, {})), gate));
  }

  Tensor prefill(const Tensor& x, const Context& /*context*/, const Prefix& prefix,
                 LayerMemory& memory) override {
    const auto [v, gate] = project(x, {v_proj_, z_proj_});
    const auto along = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
      return mix(inputs[0], std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1));
    };
    return o_proj_(sigmoid_gate(along_sequence(prefix, {v}, along), gate));
  }

  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override {
    const auto [v, gate] = project_step(x, {v_proj_, z_proj_});
    const Tensor& means = std::get<RecurrentStates>(memory).parts[0];
    const Tensor slots = rows.slots.to(torch::kCPU), y = torch::zeros_like(v);
    for (int64_t n = 0; n < v.size(0); ++n) {  // in order: rows of one sequence follow each other
      const auto slot = slots[n].item<int64_t>();
      if (slot >= 0) y[n] = means[slot].mul_(decay_).add_(v[n], 1 - decay_);
    }
    return {.x = y, .gate = gate, .projection = o_proj_};
  }

 private:
  /// All tokens at once: m = W v + a^(t+1) m_0, W[t, s] = (1 - a) a^(t-s) for s <= t.
  Tensor mix(const Tensor& v, const Tensor& state) const {  // state [1, size]
    const Tensor time = torch::arange(v.size(1), v.options().dtype(torch::kFloat32));
    const Tensor age = time.unsqueeze(1) - time;
    const Tensor weights = (torch::pow(decay_, age) * (1 - decay_)).tril().to(v.scalar_type());
    Tensor mean = torch::matmul(weights, v);
    if (state.defined()) {
      mean = mean + torch::pow(decay_, time + 1).unsqueeze(1) * state;
      state.copy_(mean.select(1, -1));
    }
    return mean.to(v.scalar_type());
  }

  double decay_;
  Linear v_proj_{nullptr}, z_proj_{nullptr}, o_proj_{nullptr};
};

std::shared_ptr<TokenMixer> make(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<DecayedMean>(config);
}

std::vector<StatePart> parts(const ModelConfig& config) {
  return {{"mean", {config.mixers.of<DecayedMeanConfig>().size}}};
}

MixerWork work(const ModelConfig& config, double /*context*/) {
  const auto D = static_cast<double>(config.hidden_size);
  const auto size = static_cast<double>(config.mixers.of<DecayedMeanConfig>().size);
  return {.input_weights = 2 * D * size,
          .output_weights = D * size,
          .forward = 3 * size,
          .backward = 3 * size};
}

void check(const ModelConfig& config, const std::string& place) {
  check_size(place, "decayed_mean_size", config.mixers.of<DecayedMeanConfig>().size);
}

/// All that the program knows of it.
constexpr MixerKind kDecayedMean = {.name = "decayed-mean",
                                    .title = "decayed mean",
                                    .is_recurrent = true,
                                    .make = make,
                                    .parts = parts,
                                    .has_step_kernels = [](const ModelConfig&) { return false; },
                                    .rope_size = [](const ModelConfig&) { return int64_t{0}; },
                                    .work = work,
                                    .write = write_mixer_config<DecayedMeanConfig>,
                                    .read = read_mixer_config<DecayedMeanConfig>,
                                    .check = check};

/// What it takes over from attention: values and the output's projection.
constexpr TwinRule kDecayedMeanTwin = {
    &kDecayedMean,
    [](const ModelConfig& teacher, ModelConfig& twin) {
      twin.mixers.of<DecayedMeanConfig>().size = teacher.num_attention_heads * teacher.head_dim;
    },
    [](const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
      from.expand("v_proj", to);
      from.copy("o_proj", to);
      to.emplace_back(from.name("z_proj.weight"),
                      from.new_gate(twin.mixers.of<DecayedMeanConfig>().size));
    }};

TEST(DecayedMean, is_the_weighted_mean_of_what_came) {
  torch::manual_seed(1);
  ModelConfig config;
  config.hidden_size = 4;
  config.mixers.of<DecayedMeanConfig>() = {.size = 3, .decay = 0.5};
  DecayedMean mixer(config);
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : mixer.parameters()) parameter.normal_();
  const auto weights = mixer.named_parameters();
  const Tensor x = torch::randn({1, 5, 4});
  const Tensor v = x.matmul(weights["v_proj.weight"].t());
  const Tensor gate = x.matmul(weights["z_proj.weight"].t()).sigmoid();
  Tensor mean = torch::zeros({1, 3});
  const Tensor y = mixer.forward(x, {});
  for (int64_t t = 0; t < 5; ++t) {
    mean = 0.5 * mean + 0.5 * v.select(1, t);
    const Tensor expected = (mean * gate.select(1, t)).matmul(weights["o_proj.weight"].t());
    EXPECT_TRUE(torch::allclose(y.select(1, t), expected, 1e-5, 1e-6)) << t;
  }
}

}  // namespace

std::span<const MixerKind* const> mixer_kinds() {
  static constexpr const MixerKind* kKinds[] = {&kAttentionMixer, &kLightningMixer, &kGdnMixer,
                                                &kKdaMixer,       &kMamba2Mixer,    &kNhaMixer,
                                                &kRwkv7Mixer,     &kSupraMixer,     &kDecayedMean};
  return kKinds;
}

std::span<const TwinRule* const> twin_rules() {
  static constexpr const TwinRule* kRules[] = {&kLightningTwin, &kGdnTwin,        &kKdaTwin,
                                               &kMamba2Twin,    &kNhaTwin,        &kRwkv7Twin,
                                               &kSupraTwin,     &kDecayedMeanTwin};
  return kRules;
}

}  // namespace hypenet
