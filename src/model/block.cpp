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
  const std::vector<Tensor> wide = linear_step({.x = x.h,
                                                .norm_weight = x.norm->weight,
                                                .eps = x.norm->eps(),
                                                .layers = pair,
                                                .is_swiglu = true});
  return {.x = wide.front(), .projection = down_};
}

BlockImpl::BlockImpl(const ModelConfig& config, int64_t layer) {
  const int64_t D = config.hidden_size;
  const MixerKind& kind = *config.mixer_types[static_cast<size_t>(layer)];
  mixer_ = register_module("self_attn", kind.make(config, layer));
  mlp_ = register_module("mlp", Mlp(config));
  input_norm_ = register_module("input_layernorm", RmsNorm(D, config.rms_norm_eps));
  post_attention_norm_ =
      register_module("post_attention_layernorm", RmsNorm(D, config.rms_norm_eps));
}

Residual BlockImpl::forward(const Residual& x, const Context& context) {
  const auto [h, input] = mixer_input(x);
  return finish(h, mixer_->forward(input, context));
}

Residual BlockImpl::prefill(const Residual& x, const Context& context, const Prefix& prefix,
                            LayerMemory& memory) {
  const auto [h, input] = mixer_input(x);
  return finish(h, mixer_->prefill(input, context, prefix, memory));
}

void BlockImpl::step(const Tensor& h, const TokenRows& rows, LayerMemory& memory) {
  add_step(h, mixer_->step({h, input_norm_}, rows, memory));
  add_step(h, mlp_->step({h, post_attention_norm_}));
}

SumAndNorm BlockImpl::mixer_input(const Residual& x) { return input_norm_->add(x); }

Residual BlockImpl::finish(const Tensor& h, const Tensor& mixer_output) {
  const auto [sum, normed] = post_attention_norm_->add({h, mixer_output});
  return {sum, mlp_(normed)};
}

}  // namespace hypenet
