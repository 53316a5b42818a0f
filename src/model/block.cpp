// A block names its parts as published checkpoints do: self_attn is the mixer, whichever it is.
#include "model/block.h"

#include "model/mixers/mixer_kind.h"
#include "ops/gating.h"

namespace hypenet {

MlpImpl::MlpImpl(const ModelConfig& config) {
  const int64_t D = config.hidden_size, wide = config.intermediate_size;
  gate_ = register_module("gate_proj", Linear(D, wide, false));
  up_ = register_module("up_proj", Linear(D, wide, false));
  down_ = register_module("down_proj", Linear(wide, D, false));
}

Tensor MlpImpl::forward(const Tensor& x) {
  const auto [gate, up] = project(x, {gate_, up_});
  return down_(swiglu(gate, up));
}

StepOutput MlpImpl::step(const Normed& x) {
  const LinearWeights pair[] = {gate_->weights, up_->weights};
  LinearStepInput input = x.input();
  input.layers = pair, input.is_swiglu = true;
  return {.x = linear_step(input).front(), .projection = down_};
}

BlockImpl::BlockImpl(const ModelConfig& config, int64_t layer) {
  using FeedForward = BlockForm::FeedForward;
  const BlockForm& form = config.blocks;
  const auto norm = [&](const char* name) {
    return register_module(name,
                           RmsNorm(config.hidden_size, config.rms_norm_eps, form.has_layer_norms));
  };
  const MixerKind& kind = *config.mixer_types[static_cast<size_t>(layer)];
  mixer_ = register_module("self_attn", kind.make(config, layer));
  switch (form.feed_forward) {
    case FeedForward::kSwiglu:
      mlp_ = register_module("mlp", Mlp(config));
      break;
    case FeedForward::kChannelMix:
      channel_mix_ = register_module("mlp", ChannelMix(config));
      break;
    case FeedForward::kNone:
      break;
  }
  input_norm_ = norm("input_layernorm");
  if (mlp_ || channel_mix_) post_attention_norm_ = norm("post_attention_layernorm");
}

Residual BlockImpl::forward(const Residual& x, const Context& context) {
  const auto [h, input] = mixer_input(x);
  return finish(h, mixer_->forward(input, context), context);
}

Residual BlockImpl::prefill(const Residual& x, const Context& context, const Prefix& prefix,
                            LayerMemory& memory) {
  const auto [h, input] = mixer_input(x);
  const Tensor mixed = mixer_->prefill(input, context, prefix, memory);
  if (!channel_mix_) return finish(h, mixed, context);
  const auto [sum, normed] = post_attention_norm_->add({h, mixed});
  return {sum, channel_mix_->prefill(normed, prefix, memory)};
}

void BlockImpl::step(const Tensor& h, const TokenRows& rows, LayerMemory& memory) {
  add_step(h, mixer_->step({h, input_norm_}, rows, memory));
  const Normed x{h, post_attention_norm_};
  if (channel_mix_) add_step(h, channel_mix_->step(x, rows, memory));
  if (mlp_) add_step(h, mlp_->step(x));
}

SumAndNorm BlockImpl::mixer_input(const Residual& x) { return input_norm_->add(x); }

Residual BlockImpl::finish(const Tensor& h, const Tensor& mixer_output, const Context& context) {
  if (!post_attention_norm_) return {h, mixer_output};
  const auto [sum, normed] = post_attention_norm_->add({h, mixer_output});
  return {sum, channel_mix_ ? channel_mix_->forward(normed, context) : mlp_(normed)};
}

}  // namespace hypenet
