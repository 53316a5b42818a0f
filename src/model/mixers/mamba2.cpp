// The time step weighs what a token writes, as beta of the recurrence without delta rule, and is in
// its decay. The convolution's bias is kept from padding by a second mask.
#include "model/mixers/mamba2.h"

#include <cmath>

#include "ops/decay_gate.h"
#include "ops/form.h"
#include "ops/gated_heads.h"
#include "ops/gating.h"
#include "ops/mamba2_step.h"
#include "ops/short_convolution.h"
#include "ops/types.h"

namespace hypenet {
namespace {

// Of the fastest heads, of 10 nats a token, a float32 sum over more would have lost digits.
constexpr int64_t kChunk = 64;

// Outputs of other widths have rows at places that a GPU's products write and read slowly. dt has
// one number a head: it is computed with the last rows of the part before it, which are left out.
constexpr int64_t kRowUnit = 8;

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& mamba = config.mixers.of<Mamba2Config>();
  mamba.num_heads = config.num_attention_heads;
  mamba.num_key_value_heads = config.num_key_value_heads;
  mamba.head_dim = config.head_dim;
  read_fields(keys, place, mamba);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  check_divides(place, "mamba2_num_heads", mamba.num_heads, "mamba2_num_key_value_heads",
                mamba.num_key_value_heads);
  check_divides(place, "mamba2_num_heads", mamba.num_heads, "mamba2_num_x_heads", mamba.x_heads());
  check_divides(place, "mamba2_num_heads", mamba.num_heads, "mamba2_num_c_heads", mamba.c_heads());
  check_divides(place, "mamba2_num_heads", mamba.num_heads, "mamba2_norm_groups",
                mamba.norm_groups.value_or(1));
  check_size(place, "mamba2_head_dim", mamba.head_dim);
  check_size(place, "mamba2_state_size", mamba.state_channels());
  check_size(place, "mamba2_conv_kernel", mamba.conv_kernel);
  HYPENET_CHECK(mamba.conv_init == "random" || mamba.conv_init == "identity", place,
                ": mamba2_conv_init: expected \"random\" or \"identity\", found \"",
                mamba.conv_init, "\"");
  HYPENET_CHECK(!mamba.hidden_act || mamba.hidden_act == "silu", place,
                ": mamba2_hidden_act: expected null or \"silu\", found \"",
                mamba.hidden_act.value_or(""), "\"");
  HYPENET_CHECK(mamba.norm_eps >= 0 && mamba.norm_eps <= 1, place,
                ": mamba2_norm_eps: expected 0 to 1, found ", mamba.norm_eps);
  if (mamba.use_rope) check_rotated(config, place, "mamba2_head_dim", mamba.state_channels());
}

std::shared_ptr<TokenMixer> make_mamba2(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<Mamba2Mixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  return {{"state", {mamba.num_heads, mamba.state_channels(), mamba.head_dim}},
          {"conv1d", {mamba.channels(), mamba.conv_kernel - 1}}};
}

/// The norm of wider groups than heads would be cut by the number of rows, and their bits with it.
bool has_step_kernels(const ModelConfig& config) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  const bool is_norm_of_heads = mamba.norm_groups.value_or(mamba.num_heads) == mamba.num_heads;
  return mamba.state_channels() == mamba.head_dim && is_step_head(mamba.head_dim) &&
         mamba.conv_kernel <= kMostStepTaps && (mamba.is_discrete || is_norm_of_heads);
}

int64_t rope_size(const ModelConfig& config) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  return mamba.use_rope ? mamba.state_channels() : 0;
}

/// As lightning attention's, and the convolution.
MixerWork work_of(const ModelConfig& config, double context) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  const auto D = static_cast<double>(config.hidden_size), d = static_cast<double>(mamba.head_dim);
  const auto H = static_cast<double>(mamba.num_heads);
  const auto N = static_cast<double>(mamba.state_channels());
  const auto rows = static_cast<double>(mamba.inner() + mamba.channels() + mamba.num_heads);
  const double C = std::min<double>(static_cast<double>(kChunk), context);
  const double unit = H * (C * (N + d) / 2 + N * d);
  const double taps = 2 * static_cast<double>(mamba.conv_kernel * mamba.channels());
  return {.input_weights = D * rows,
          .output_weights = D * H * d,
          .forward = 4 * unit + taps,
          .backward = 10 * unit + 2 * taps};
}

/// Outputs begin .. begin + count - 1 of a layer: views, which gradients go through.
LinearWeights rows_of(const LinearWeights& whole, int64_t begin, int64_t count) {
  const auto taken = [&](const Tensor& x) { return x.defined() ? x.narrow(0, begin, count) : x; };
  return {.weight = {taken(whole.weight.master), taken(whole.weight.copy)},
          .bias = {taken(whole.bias.master), taken(whole.bias.copy)}};
}

}  // namespace

const MixerKind kMamba2Mixer = {.name = "mamba2",
                                .title = "Mamba-2",
                                .is_recurrent = true,
                                .make = make_mamba2,
                                .parts = parts_of,
                                .has_step_kernels = has_step_kernels,
                                .rope_size = rope_size,
                                .work = work_of,
                                .write = write_mixer_config<Mamba2Config>,
                                .read = read_config,
                                .check = check_config};

Mamba2Mixer::Mamba2Mixer(const ModelConfig& config) : config_(config.mixers.of<Mamba2Config>()) {
  const int64_t D = config.hidden_size, H = config_.num_heads, wide = config_.inner();
  in_proj_ =
      register_module("in_proj", Linear(D, wide + config_.channels() + H, config.attention_bias));
  out_proj_ = register_module("out_proj", Linear(wide, D, config.attention_output_bias));
  conv1d_ = register_module(
      "conv1d", ShortConvolution(config_.channels(), config_.conv_kernel, config_.use_conv_bias));
  if (config_.use_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(config_.state_channels(), config.rms_norm_eps));
    k_norm_ = register_module("k_norm", RmsNorm(config_.state_channels(), config.rms_norm_eps));
  }
  if (!config_.is_discrete) {
    norm_ = register_module("norm", RmsNorm(wide, config_.norm_eps));
    A_log_ = register_parameter("A_log", torch::zeros({H}));
    dt_bias_ = register_parameter("dt_bias", torch::zeros({H}));
  }
  D_ = register_parameter("D", torch::zeros({H}));
  if (config_.use_z_bias) z_bias_ = register_parameter("z_bias", torch::zeros({wide}));
}

void Mamba2Mixer::draw_own_parameters() {
  const bool is_identity = config_.conv_init == "identity";
  const double bound = 1 / std::sqrt(static_cast<double>(config_.conv_kernel));
  if (is_identity) {
    conv1d_->weight.zero_().select(2, config_.conv_kernel - 1).fill_(1);
  } else {
    conv1d_->weight.uniform_(-bound, bound);
    if (conv1d_->bias.defined()) conv1d_->bias.uniform_(-bound, bound);
  }
  if (!config_.is_discrete) {
    A_log_.copy_(new_log_rates(A_log_.sizes(), kLeastMamba2Rate));
    dt_bias_.copy_(inverse_softplus(new_time_steps(dt_bias_.sizes())));
  }
  D_.fill_(is_identity ? 0 : 1);
  if (z_bias_.defined()) z_bias_.fill_(kOpenSilu);
}

Tensor Mamba2Mixer::forward(const Tensor& x, const Context& context) {
  const Brought in = project(x);
  Tensor channels = context.to_rows(in.channels);
  if (context.valid.defined()) channels = channels * context.valid;
  channels = short_convolution(channels, conv1d_->weight, {}, after_convolution());
  if (context.valid.defined()) channels = channels * context.valid;
  const Recurrence tokens = recurrence_of(channels, context.to_rows(in.dt), context.angles);
  const auto of_nodes = [&](const Tensor& heads) {
    return split_heads(context.from_rows(heads.flatten(2)), config_.num_heads);
  };
  const Tensor o = recurrence(tokens).output;
  return out_proj_(with_skip_gated(of_nodes(o), of_nodes(tokens.v), in.z));
}

Tensor Mamba2Mixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                            LayerMemory& memory) {
  const Brought in = parts_of(in_proj_(x));
  const auto convolve = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor tail = std::get<RecurrentStates>(memory).parts[1].narrow(0, chunk.slot, 1);
    const Tensor y = short_convolution(inputs[0], conv1d_->weight, tail, after_convolution());
    advance_tail(tail, inputs[0]);
    return y;
  };
  const Tensor channels = along_sequence(prefix, {in.channels}, convolve);
  const Recurrence tokens = recurrence_of(channels, in.dt, context.angles);
  const auto mix = [&memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
    const RecurrenceOutput found = recurrence({.q = inputs[1],
                                               .k = inputs[2],
                                               .v = inputs[0],
                                               .decay = inputs[3],
                                               .beta = inputs.size() > 4 ? inputs[4] : Tensor(),
                                               .state = state,
                                               .chunk = kChunk});
    state.copy_(found.state);
    return found.output;
  };
  std::vector<Tensor> inputs = {tokens.v, tokens.q, tokens.k, tokens.decay};
  if (tokens.beta.defined()) inputs.push_back(tokens.beta);
  const Tensor o = along_sequence(prefix, inputs, mix);
  return out_proj_(with_skip_gated(o, tokens.v, in.z));
}

StepOutput Mamba2Mixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  const Brought in = parts_of(project_step(x, {in_proj_})[0]);
  const bool has_silu = config_.hidden_act.has_value();
  const StepConvolution convolution = {in.channels, conv1d_->weight, parts[1], conv1d_->bias};
  const Tensor channels = short_convolution_steps({convolution}, rows.slots, has_silu)[0];
  Mamba2StepInput input{
      .channels = channels,
      .heads = {config_.x_heads(), config_.num_key_value_heads, config_.c_heads()},
      .dt = in.dt,
      .A_log = A_log_,
      .dt_bias = dt_bias_,
      .D = D_,
      .state = parts[0],
      .slots = rows.slots};
  if (q_norm_) {
    input.C_weight = q_norm_->weight, input.B_weight = k_norm_->weight;
    input.eps = q_norm_->eps();
  }
  if (config_.use_rope) input.angles = rows.angles;
  return {.x = gated(mamba2_step(input), in.z), .projection = out_proj_};
}

std::vector<int64_t> Mamba2Mixer::part_sizes() const {
  const int64_t wide = config_.inner(), channels = config_.channels(), H = config_.num_heads;
  return config_.is_discrete ? std::vector{channels, wide, H} : std::vector{wide, channels, H};
}

Mamba2Mixer::Brought Mamba2Mixer::brought(const std::vector<Tensor>& parts) const {
  return {.z = parts[config_.is_discrete ? 1 : 0],
          .channels = parts[config_.is_discrete ? 0 : 1],
          .dt = parts[2]};
}

Mamba2Mixer::Brought Mamba2Mixer::parts_of(const Tensor& projected) const {
  return brought(projected.split_with_sizes(part_sizes(), -1));
}

Mamba2Mixer::Brought Mamba2Mixer::project(const Tensor& x) {
  const bool is_split =
      x.is_cuda() && torch::GradMode::is_enabled() && !in_proj_->weights.weight.packed;
  if (!is_split) return parts_of(in_proj_(x));
  std::vector<LinearWeights> layers;
  std::vector<int64_t> extra;
  int64_t begin = 0;
  for (const int64_t count : part_sizes()) {
    const int64_t missing = (kRowUnit - count % kRowUnit) % kRowUnit;
    extra.push_back(missing <= begin ? missing : 0);
    layers.push_back(rows_of(in_proj_->weights, begin - extra.back(), count + extra.back()));
    begin += count;
  }
  std::vector<Tensor> parts = apply_linears(x, layers);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (extra[i] > 0) parts[i] = parts[i].narrow(-1, extra[i], parts[i].size(-1) - extra[i]);
  }
  return brought(parts);
}

AfterConvolution Mamba2Mixer::after_convolution() const {
  return {.bias = conv1d_->bias, .has_silu = config_.hidden_act.has_value()};
}

Recurrence Mamba2Mixer::recurrence_of(const Tensor& channels, const Tensor& dt,
                                      const RopeAngles& angles) {
  const int64_t H = config_.num_heads, G = config_.num_key_value_heads;
  const std::vector<Tensor> xBC = channels.split_with_sizes(config_.convolved(), -1);
  const auto heads = [&](const Tensor& x, int64_t count, const RmsNorm& norm) {
    return norm_and_rotate(split_heads(x, count), norm, config_.use_rope, angles);
  };
  const Tensor none = torch::zeros({H}, D_.options());
  const Tensor steps =  // [B, T, H]
      decay_gate(dt, none, config_.is_discrete ? none : dt_bias_);
  Recurrence tokens = {.q = repeat_heads(heads(xBC[2], config_.c_heads(), q_norm_), H),
                       .k = repeat_heads(heads(xBC[1], G, k_norm_), H),
                       .v = repeat_heads(split_heads(xBC[0], config_.x_heads()), H),
                       .decay = steps,
                       .chunk = kChunk,
                       .needs_state = false};
  if (config_.is_discrete) return tokens;
  tokens.decay = steps * A_log_.to(steps.scalar_type()).exp();
  tokens.beta = steps;
  return tokens;
}

Tensor Mamba2Mixer::with_skip_gated(const Tensor& o, const Tensor& x, const Tensor& z) const {
  if (!config_.is_discrete && is_norm_of_heads()) {
    return skip_gated_heads(o, x, D_, z, z_bias_, norm_->weight, config_.norm_eps);
  }
  const Tensor y = o + x * D_.to(x.scalar_type()).unsqueeze(-1);
  return gated(y.flatten(-2), z);
}

bool Mamba2Mixer::is_norm_of_heads() const {
  return config_.norm_groups.value_or(config_.num_heads) == config_.num_heads;
}

Tensor Mamba2Mixer::gated(const Tensor& y, const Tensor& z) const {
  const int64_t H = config_.num_heads, groups = config_.norm_groups.value_or(H);
  if (!config_.is_discrete && is_norm_of_heads()) {
    return gated_heads(y, z, z_bias_, norm_->weight, H, config_.norm_eps);
  }
  const Tensor gate = z_bias_.defined() ? z + z_bias_.to(z.scalar_type()) : z;
  const Tensor open = swiglu(gate, y);
  if (config_.is_discrete) return open;
  const Tensor in_groups = split_heads(open, groups);
  const Tensor ones = torch::ones({in_groups.size(-1)}, y.options());
  const Tensor normed = rms_norm(in_groups, ones, config_.norm_eps).flatten(-2);
  return normed * norm_->weight.to(y.scalar_type());
}

}  // namespace hypenet
