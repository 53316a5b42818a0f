// Padding is kept out of the state by zero queries, keys and values in front of the convolution.
#include "model/mixers/delta_rule.h"

#include <algorithm>
#include <cmath>

#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/short_convolution.h"

namespace hypenet {
namespace {

constexpr std::array<const char*, 3> kConvolutions = {"q_conv1d", "k_conv1d", "v_conv1d"};

}  // namespace

std::vector<StatePart> delta_parts(const DeltaForm& form) {
  std::vector<StatePart> parts = {{"state", {form.heads, form.key_size, form.value_size}}};
  if (form.taps == 0) return parts;
  for (size_t i = 0; i < kConvolutions.size(); ++i) {
    parts.push_back({kConvolutions[i], {form.channels()[i], form.taps - 1}});
  }
  return parts;
}

bool has_delta_step_kernels(const DeltaForm& form) {
  return is_delta_step_head(form.key_size, form.value_size) && form.taps <= kMostStepTaps;
}

MixerWork delta_work(const ModelConfig& config, const DeltaForm& form, double context) {
  constexpr double kChunk = 64;
  const auto D = static_cast<double>(config.hidden_size), C = std::min<double>(kChunk, context);
  const auto H = static_cast<double>(form.heads), dk = static_cast<double>(form.key_size);
  const auto dv = static_cast<double>(form.value_size);
  double channels = 0;
  for (const int64_t count : form.channels()) channels += static_cast<double>(count);
  const double taps = 2 * static_cast<double>(form.taps) * channels;
  // Of a chunk: q k, k k, the solution for v and k, what it writes and reads; and three products
  // with the state. Of their gradients as many times more as products have factors, and the scores
  // again.
  const double within = C * (dk + dv) * H, across = dk * dv * H;
  return {.input_weights = D * channels,
          .output_weights = D * H * dv,
          .forward = 4 * within + 6 * across + taps,
          .backward = 11 * within + 14 * across + 2 * taps};
}

ShortConvolutionImpl::ShortConvolutionImpl(int64_t channels, int64_t taps, bool has_bias) {
  weight = register_parameter("weight", torch::empty({channels, 1, taps}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({channels}));
}

DeltaMixer::DeltaMixer(const ModelConfig& config, const DeltaForm& form) : form_(form) {
  const int64_t D = config.hidden_size, wide = form.heads * form.value_size;
  const auto [of_q, of_k, of_v] = form.channels();
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, of_q, bias));
  k_proj_ = register_module("k_proj", Linear(D, of_k, bias));
  v_proj_ = register_module("v_proj", Linear(D, of_v, bias));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (form.has_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(form.key_size, config.rms_norm_eps));
    k_norm_ = register_module("k_norm", RmsNorm(form.key_size, config.rms_norm_eps));
  }
  o_norm_ = register_module("o_norm", RmsNorm(form.value_size, config.rms_norm_eps));
  if (form.taps == 0) return;
  for (size_t i = 0; i < convolutions_.size(); ++i) {
    convolutions_[i] =
        register_module(kConvolutions[i], ShortConvolution(form.channels()[i], form.taps));
  }
}

void DeltaMixer::draw_own_parameters() {
  for (const ShortConvolution& convolution : convolutions_) {
    const double bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(form_.taps, 1)));
    if (convolution) convolution->weight.uniform_(-bound, bound);
  }
}

Tensor DeltaMixer::forward(const Tensor& x, const Context& context) {
  Brought in = project_tokens(x);
  for (Tensor& y : in.qkv) {
    y = context.to_rows(y);
    if (context.valid.defined()) y = y * context.valid;
  }
  std::vector<Tensor> tails(in.qkv.size());
  if (context.row && form_.taps > 1) {
    tails = row_tails({in.qkv.begin(), in.qkv.end()}, form_.taps - 1, context.row);
  }
  for (size_t i = 0; i < in.qkv.size(); ++i) {
    Tensor& y = in.qkv[i];
    const AfterConvolution after = {.has_silu = form_.has_silu};
    y = convolutions_[i] ? short_convolution(y, convolutions_[i]->weight, tails[i], after)
                         : activated(y);
  }
  in.decay = context.to_rows(in.decay), in.beta = context.to_rows(in.beta);
  const Recurrence input = recurrence_of(in, context.angles);
  const Tensor o =  // [B, T, H, dv]
      context.row ? row_recurrence(input, context.row) : recurrence(input).output;
  const Tensor of_nodes = context.from_rows(o.flatten(2));
  return o_proj_(gated(split_heads(of_nodes, form_.heads), in.gate));
}

Tensor DeltaMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                           LayerMemory& memory) {
  Brought in = project_tokens(x);
  for (size_t i = 0; i < in.qkv.size(); ++i) {
    const auto convolve = [this, i, &memory](const std::vector<Tensor>& inputs,
                                             const Prefix& chunk) {
      const Tensor tail = std::get<RecurrentStates>(memory).parts[1 + i].narrow(0, chunk.slot, 1);
      const Tensor y = short_convolution(inputs[0], convolutions_[i]->weight, tail,
                                         {.has_silu = form_.has_silu});
      advance_tail(tail, inputs[0]);
      return y;
    };
    Tensor& y = in.qkv[i];
    y = convolutions_[i] ? along_sequence(prefix, {y}, convolve) : activated(y);
  }
  const Recurrence tokens = recurrence_of(in, context.angles);
  const auto mix = [scale = tokens.scale, &memory](const std::vector<Tensor>& inputs,
                                                   const Prefix& chunk) {
    const Tensor state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
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

StepOutput DeltaMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  auto [input, gate] = project_rows(x);
  convolve_step(input, rows, parts);
  if (q_norm_) {
    input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
    input.eps = q_norm_->eps();
  }
  if (form_.has_rope) input.angles = rows.angles;
  input.scale = scale(), input.state = parts[0], input.slots = rows.slots;
  return {.x = gated(delta_step(input), gate), .projection = o_proj_};
}

void DeltaMixer::convolve_step(DeltaStepInput& input, const TokenRows& rows,
                               const std::vector<Tensor>& parts) const {
  const std::array<Tensor*, 3> qkv = {&input.q, &input.k, &input.v};
  if (form_.taps == 0) {
    for (Tensor* y : qkv) *y = activated(*y);
    return;
  }
  std::vector<StepConvolution> convolutions;
  for (size_t i = 0; i < qkv.size(); ++i) {
    convolutions.push_back({*qkv[i], convolutions_[i]->weight, parts[1 + i]});
  }
  const auto outputs = short_convolution_steps(convolutions, rows.slots, form_.has_silu);
  for (size_t i = 0; i < qkv.size(); ++i) *qkv[i] = outputs[i];
}

double DeltaMixer::scale() const { return 1 / std::sqrt(static_cast<double>(form_.key_size)); }

Recurrence DeltaMixer::recurrence_of(const Brought& in, const RopeAngles& angles) {
  const int64_t H = form_.heads;
  const auto unit = [&](const Tensor& x, int64_t heads, const RmsNorm& norm) {
    const Tensor y = norm_and_rotate(split_heads(x, heads), norm, form_.has_rope, angles);
    return repeat_heads(l2_norm(y), H);
  };
  return {.q = unit(in.qkv[0], form_.query_heads, q_norm_),
          .k = unit(in.qkv[1], form_.key_heads, k_norm_),
          .v = repeat_heads(split_heads(in.qkv[2], form_.value_heads), H),
          .decay = in.decay.size(-1) == H ? in.decay : split_heads(in.decay, H),
          .beta = in.beta,
          .is_delta = true,
          .scale = scale(),
          .needs_state = false};
}

Tensor DeltaMixer::activated(const Tensor& x) const {
  return form_.has_silu ? sigmoid_gate(x, x) : x;
}

Tensor new_log_rates(torch::IntArrayRef shape, double least,
                     const std::optional<torch::Generator>& generator) {
  constexpr double kMost = 16;
  return (torch::rand(shape, generator, torch::kFloat32) * (kMost - least) + least).log();
}

Tensor new_time_steps(torch::IntArrayRef shape, const std::optional<torch::Generator>& generator) {
  const double least = std::log(0.001), most = std::log(0.1);
  return (torch::rand(shape, generator, torch::kFloat32) * (most - least) + least).exp();
}

Tensor inverse_softplus(const Tensor& y) { return y + (-torch::expm1(-y)).log(); }

}  // namespace hypenet
