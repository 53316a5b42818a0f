// Taps are made token by token, so only their use looks along the sequence.
#include "model/mixers/jet.h"

#include <cmath>

#include "model/mixers/gdn.h"
#include "ops/decay_gate.h"
#include "ops/dynamic_convolution.h"
#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/short_convolution.h"

namespace hypenet {
namespace {

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& jet = config.mixers.of<JetConfig>();
  jet.num_heads = config.num_attention_heads;
  jet.head_dim = config.head_dim;
  read_fields(keys, place, jet);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& jet = config.mixers.of<JetConfig>();
  check_size(place, "jet_num_heads", jet.num_heads);
  check_size(place, "jet_head_dim", jet.head_dim);
  const double dv = jet.expand_v * static_cast<double>(jet.head_dim);
  // A published factor is a quotient of sizes, rounded.
  HYPENET_CHECK(dv > 0.5 && dv <= 1 << 20 && std::abs(dv - std::round(dv)) < 1e-5 * dv, place,
                ": jet_expand_v: expected a factor that makes jet_head_dim ", jet.head_dim,
                " another whole number, found ", jet.expand_v);
  check_size(place, "jet_conv_size", jet.conv_size);
  check_size(place, "jet_dconv_generator_reduction", jet.dconv_generator_reduction);
  HYPENET_CHECK(jet.channels() >= jet.dconv_generator_reduction, place,
                ": jet_dconv_generator_reduction: expected at most the channels of values ",
                jet.channels(), ", found ", jet.dconv_generator_reduction);
  HYPENET_CHECK(jet.norm_eps >= 0 && jet.norm_eps <= 1, place,
                ": jet_norm_eps: expected 0 to 1, found ", jet.norm_eps);
}

std::shared_ptr<TokenMixer> make_jet(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<JetMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& jet = config.mixers.of<JetConfig>();
  return {{"state", {jet.num_heads, jet.head_dim, jet.value_size()}},
          {"v_conv1d", {jet.channels(), jet.conv_size - 1}}};
}

bool has_step_kernels(const ModelConfig& /*config*/) { return false; }

int64_t rope_size(const ModelConfig& /*config*/) { return 0; }

/// As Gated DeltaNet's, and the taps.
MixerWork work_of(const ModelConfig& config, double context) {
  const auto& jet = config.mixers.of<JetConfig>();
  const int64_t H = jet.num_heads, D = config.hidden_size, wide = jet.channels();
  const int64_t generated = wide / jet.dconv_generator_reduction;
  MixerWork work = delta_work(config,
                              {.heads = H,
                               .query_heads = H,
                               .key_heads = H,
                               .value_heads = H,
                               .key_size = jet.head_dim,
                               .value_size = jet.value_size()},
                              context);
  work.input_weights +=
      static_cast<double>(D * (2 * H + wide + generated) + generated * wide * jet.conv_size);
  work.forward += 2 * static_cast<double>(wide * jet.conv_size);
  work.backward += 4 * static_cast<double>(wide * jet.conv_size);
  return work;
}

Tensor activated(const Tensor& x) { return sigmoid_gate(x, x); }

}  // namespace

const MixerKind kJetMixer = {.name = "jet",
                             .title = "JetBlock",
                             .is_recurrent = true,
                             .make = make_jet,
                             .parts = parts_of,
                             .has_step_kernels = has_step_kernels,
                             .rope_size = rope_size,
                             .work = work_of,
                             .write = write_mixer_config<JetConfig>,
                             .read = read_config,
                             .check = check_config};

int64_t JetConfig::value_size() const {
  return std::llround(expand_v * static_cast<double>(head_dim));
}

JetMixer::JetMixer(const ModelConfig& config) : config_(config.mixers.of<JetConfig>()) {
  const int64_t D = config.hidden_size, H = config_.num_heads;
  const int64_t narrow = H * config_.head_dim, wide = config_.channels();
  const int64_t generated = wide / config_.dconv_generator_reduction;
  q_proj_ = register_module("q_proj", Linear(D, narrow, false));
  k_proj_ = register_module("k_proj", Linear(D, narrow, false));
  v_proj_ = register_module("v_proj", Linear(D, wide, false));
  o_proj_ = register_module("o_proj", Linear(wide, D, false));
  a_proj_ = register_module("a_proj", Linear(D, H, false));
  b_proj_ = register_module("b_proj", Linear(D, H, false));
  g_proj_ = register_module("g_proj", Linear(D, wide, false));
  const auto convolution = register_module("dynamic_conv1d", std::make_shared<torch::nn::Module>());
  const auto generator =
      convolution->register_module("kernel_generator", std::make_shared<torch::nn::Module>());
  w1_ = generator->register_module("w1", Linear(D, generated, false));
  w2_ = generator->register_module("w2", Linear(generated, wide * config_.conv_size, true));
  o_norm_ = register_module("o_norm", RmsNorm(config_.value_size(), config_.norm_eps));
  A_log_ = register_parameter("A_log", torch::zeros({H}));
  dt_bias_ = register_parameter("dt_bias", torch::zeros({H}));
}

void JetMixer::draw_own_parameters() {
  // A convolution that passes its input on.
  w1_->weights.weight.master.zero_(), w2_->weights.weight.master.zero_();
  w2_->weights.bias.master.view({-1, config_.conv_size}).select(1, config_.conv_size - 1).fill_(1);
  A_log_.copy_(new_log_rates(A_log_.sizes(), kLeastGdnRate));
  dt_bias_.copy_(inverse_softplus(new_time_steps(dt_bias_.sizes())));
}

Tensor JetMixer::forward(const Tensor& x, const Context& context) {
  const Linear layers[] = {q_proj_, k_proj_, v_proj_, a_proj_, b_proj_, g_proj_};
  Brought in = bring(project(x, std::span<const Linear>(layers)), w2_(activated(w1_(x))));
  for (Tensor* y : {&in.q, &in.k, &in.v}) {
    *y = context.to_rows(*y);
    if (context.valid.defined()) *y = *y * context.valid;
  }
  in.taps = context.to_rows(in.taps.flatten(2)).unflatten(-1, {config_.channels(), -1});
  in.v = activated(dynamic_convolution(in.v, in.taps));
  in.decay = context.to_rows(in.decay), in.beta = context.to_rows(in.beta);
  const Tensor o = recurrence(recurrence_of(in)).output;
  const Tensor of_nodes = context.from_rows(o.flatten(2));
  return o_proj_(gated(split_heads(of_nodes, config_.num_heads), in.gate));
}

Tensor JetMixer::prefill(const Tensor& x, const Context& /*context*/, const Prefix& prefix,
                         LayerMemory& memory) {
  const Linear layers[] = {q_proj_, k_proj_, v_proj_, a_proj_, b_proj_, g_proj_};
  Brought in = bring(project(x, std::span<const Linear>(layers)), w2_(activated(w1_(x))));
  const auto part = [&memory](size_t i, const Prefix& chunk) {
    return std::get<RecurrentStates>(memory).parts[i].narrow(0, chunk.slot, 1);
  };
  const auto convolve = [part](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor tail = part(1, chunk);
    const Tensor y = dynamic_convolution(inputs[0], inputs[1], tail);
    advance_tail(tail, inputs[0]);
    return y;
  };
  in.v = activated(along_sequence(prefix, {in.v, in.taps}, convolve));
  const Recurrence tokens = recurrence_of(in);
  const auto mix = [part, scale = tokens.scale](const std::vector<Tensor>& inputs,
                                                const Prefix& chunk) {
    const Tensor state = part(0, chunk);
    const RecurrenceOutput found = recurrence({.q = inputs[1],
                                               .k = inputs[2],
                                               .v = inputs[0],
                                               .decay = inputs[3],
                                               .beta = inputs[4],
                                               .is_delta = true,
                                               .scale = scale,
                                               .state = state});
    state.copy_(found.state);
    return found.output;
  };
  const Tensor o =
      along_sequence(prefix, {tokens.v, tokens.q, tokens.k, tokens.decay, tokens.beta}, mix);
  return o_proj_(gated(o, in.gate));
}

StepOutput JetMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  const Linear layers[] = {q_proj_, k_proj_, v_proj_, a_proj_, b_proj_, g_proj_};
  const Tensor generated = activated(project_step(x, {w1_})[0]);
  Brought in = bring(project_step(x, std::span<const Linear>(layers)), apply_step(generated, w2_));
  in.v = activated(dynamic_convolution_step(in.v, in.taps, parts[1], rows.slots));
  for (Tensor* y : {&in.q, &in.k, &in.v, &in.decay, &in.beta}) *y = y->unsqueeze(1);
  Recurrence tokens = recurrence_of(in);
  tokens.state = parts[0];
  const Tensor o = recurrence_step(tokens, rows.slots).squeeze(1);  // [N, H, dv]
  return {.x = gated(o, in.gate), .projection = o_proj_};
}

JetMixer::Brought JetMixer::bring(const std::vector<Tensor>& projected,
                                  const Tensor& generated) const {
  return {.q = projected[0],
          .k = projected[1],
          .v = projected[2],
          .taps = generated.unflatten(-1, {config_.channels(), config_.conv_size}),
          .decay = decay_gate(projected[3], A_log_, dt_bias_),
          .beta = beta_gate(projected[4], 1),
          .gate = projected[5]};
}

Recurrence JetMixer::recurrence_of(const Brought& in) const {
  const int64_t H = config_.num_heads;
  const auto unit = [H](const Tensor& x) { return l2_norm(split_heads(activated(x), H)); };
  return {.q = unit(in.q),
          .k = unit(in.k),
          .v = split_heads(in.v, H),
          .decay = in.decay,
          .beta = in.beta,
          .is_delta = true,
          .scale = 1 / std::sqrt(static_cast<double>(config_.head_dim)),
          .needs_state = false};
}

Tensor JetMixer::gated(const Tensor& o, const Tensor& gate) const {
  return o_norm_->silu_gated(o, split_heads(gate, config_.num_heads)).flatten(-2);
}

}  // namespace hypenet
