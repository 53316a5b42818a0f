// The time step weighs what a token writes, as beta of the recurrence without delta rule, and is in
// its decay. The convolution's bias is kept from padding by a second mask.
#include "model/mixers/mamba2.h"

#include <cmath>

#include "ops/decay_gate.h"
#include "ops/gating.h"
#include "ops/short_convolution.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr double kNormEps = 1e-5;  // of the output norm
// Of the fastest heads, of 10 nats a token, a float32 sum over more would have lost digits.
constexpr int64_t kChunk = 64;

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
  check_size(place, "mamba2_head_dim", mamba.head_dim);
  check_size(place, "mamba2_conv_kernel", mamba.conv_kernel);
  HYPENET_CHECK(mamba.conv_init == "random" || mamba.conv_init == "identity", place,
                ": mamba2_conv_init: expected \"random\" or \"identity\", found \"",
                mamba.conv_init, "\"");
  HYPENET_CHECK(!mamba.hidden_act || mamba.hidden_act == "silu", place,
                ": mamba2_hidden_act: expected null or \"silu\", found \"",
                mamba.hidden_act.value_or(""), "\"");
  if (mamba.use_rope) check_rotated(config, place, "mamba2_head_dim", mamba.head_dim);
}

std::shared_ptr<TokenMixer> make_mamba2(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<Mamba2Mixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  return {{"state", {mamba.num_heads, mamba.head_dim, mamba.head_dim}},
          {"conv1d", {mamba.channels(), mamba.conv_kernel - 1}}};
}

bool has_step_kernels(const ModelConfig& /*config*/) { return false; }

int64_t rope_size(const ModelConfig& config) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  return mamba.use_rope ? mamba.head_dim : 0;
}

/// As lightning attention's, and the convolution.
MixerWork work_of(const ModelConfig& config, double context) {
  const auto& mamba = config.mixers.of<Mamba2Config>();
  const auto D = static_cast<double>(config.hidden_size), d = static_cast<double>(mamba.head_dim);
  const auto H = static_cast<double>(mamba.num_heads);
  const auto rows = static_cast<double>(mamba.inner() + mamba.channels() + mamba.num_heads);
  const double unit = H * (std::min<double>(static_cast<double>(kChunk), context) * d + d * d);
  const double taps = 2 * static_cast<double>(mamba.conv_kernel * mamba.channels());
  return {.input_weights = D * rows,
          .output_weights = D * H * d,
          .forward = 4 * unit + taps,
          .backward = 10 * unit + 2 * taps};
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
      "conv1d", ShortConvolution(config_.channels(), config_.conv_kernel, /*has_bias=*/true));
  if (config_.use_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(config_.head_dim, config.rms_norm_eps));
    k_norm_ = register_module("k_norm", RmsNorm(config_.head_dim, config.rms_norm_eps));
  }
  norm_ = register_module("norm", RmsNorm(wide, kNormEps));
  A_log_ = register_parameter("A_log", torch::zeros({H}));
  dt_bias_ = register_parameter("dt_bias", torch::zeros({H}));
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
    conv1d_->bias.uniform_(-bound, bound);
  }
  A_log_.copy_(new_log_rates(A_log_.sizes(), kLeastMamba2Rate));
  dt_bias_.copy_(inverse_softplus(new_time_steps(dt_bias_.sizes())));
  D_.fill_(is_identity ? 0 : 1);
  if (z_bias_.defined()) z_bias_.fill_(kOpenSilu);
}

Tensor Mamba2Mixer::forward(const Tensor& x, const Context& context) {
  const Brought in = parts_of(in_proj_(x));
  Tensor channels = context.to_rows(in.channels);
  if (context.valid.defined()) channels = channels * context.valid;
  channels = activated(short_convolution(channels, conv1d_->weight));
  if (context.valid.defined()) channels = channels * context.valid;
  const Recurrence tokens = recurrence_of(channels, context.to_rows(in.dt), context.angles);
  const Tensor y = with_skip(recurrence(tokens).output, tokens.v);
  return out_proj_(gated(context.from_rows(y.flatten(2)), in.z));
}

Tensor Mamba2Mixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                            LayerMemory& memory) {
  const Brought in = parts_of(in_proj_(x));
  const auto convolve = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor tail = std::get<RecurrentStates>(memory).parts[1].narrow(0, chunk.slot, 1);
    const Tensor y = short_convolution(inputs[0], conv1d_->weight, tail);
    advance_tail(tail, inputs[0]);
    return y;
  };
  const Tensor channels = activated(along_sequence(prefix, {in.channels}, convolve));
  const Recurrence tokens = recurrence_of(channels, in.dt, context.angles);
  const auto mix = [&memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
    const RecurrenceOutput found = recurrence({.q = inputs[1],
                                               .k = inputs[2],
                                               .v = inputs[0],
                                               .decay = inputs[3],
                                               .beta = inputs[4],
                                               .state = state,
                                               .chunk = kChunk});
    state.copy_(found.state);
    return found.output;
  };
  const Tensor o =
      along_sequence(prefix, {tokens.v, tokens.q, tokens.k, tokens.decay, tokens.beta}, mix);
  return out_proj_(gated(with_skip(o, tokens.v).flatten(2), in.z));
}

StepOutput Mamba2Mixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  const Brought in = parts_of(project_step(x, {in_proj_})[0]);
  const Tensor channels =
      activated(short_convolution_step(in.channels, conv1d_->weight, parts[1], rows.slots));
  Recurrence tokens = recurrence_of(channels.unsqueeze(1), in.dt.unsqueeze(1),
                                    {rows.angles.cos.unsqueeze(1), rows.angles.sin.unsqueeze(1)});
  tokens.state = parts[0];
  const Tensor y = with_skip(recurrence_step(tokens, rows.slots), tokens.v);  // [N, 1, H, d]
  return {.x = gated(y.flatten(1), in.z), .projection = out_proj_};
}

Mamba2Mixer::Brought Mamba2Mixer::parts_of(const Tensor& projected) const {
  const std::vector<Tensor> parts =
      projected.split_with_sizes({config_.inner(), config_.channels(), config_.num_heads}, -1);
  return {parts[0], parts[1], parts[2]};
}

Tensor Mamba2Mixer::activated(const Tensor& convolved) const {
  const Tensor y = convolved + conv1d_->bias.to(convolved.scalar_type());
  return config_.hidden_act ? sigmoid_gate(y, y) : y;
}

Recurrence Mamba2Mixer::recurrence_of(const Tensor& channels, const Tensor& dt,
                                      const RopeAngles& angles) {
  const int64_t H = config_.num_heads, G = config_.num_key_value_heads;
  const std::vector<Tensor> xBC =
      channels.split_with_sizes({config_.narrow(), config_.narrow(), config_.inner()}, -1);
  const auto heads = [&](const Tensor& x, int64_t count, const RmsNorm& norm) {
    return norm_and_rotate(split_heads(x, count), norm, config_.use_rope, angles);
  };
  const Tensor steps = decay_gate(dt, torch::zeros_like(A_log_), dt_bias_);  // [B, T, H]
  return {.q = heads(xBC[2], H, q_norm_),
          .k = repeat_heads(heads(xBC[1], G, k_norm_), H),
          .v = repeat_heads(split_heads(xBC[0], G), H),
          .decay = steps * A_log_.to(steps.scalar_type()).exp(),
          .beta = steps,
          .chunk = kChunk,
          .needs_state = false};
}

Tensor Mamba2Mixer::with_skip(const Tensor& o, const Tensor& x) const {
  return o + x * D_.to(x.scalar_type()).unsqueeze(-1);
}

Tensor Mamba2Mixer::gated(const Tensor& y, const Tensor& z) const {
  const Tensor gate = z_bias_.defined() ? z + z_bias_.to(z.scalar_type()) : z;
  const Tensor ones = torch::ones({config_.head_dim}, y.options());
  const Tensor heads = split_heads(swiglu(gate, y), config_.num_heads);
  const Tensor normed = rms_norm(heads, ones, kNormEps).flatten(-2);
  return normed * norm_->weight.to(y.scalar_type());
}

}  // namespace hypenet
