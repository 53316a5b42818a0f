// A block names its parts as published checkpoints do: self_attn is the mixer, whichever it is.
#include "model/block.h"

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

BlockImpl::BlockImpl(const ModelConfig& config, MixerType type) {
  const int64_t D = config.hidden_size;
  mixer_ = register_module("self_attn", make_mixer(config, type));
  mlp_ = register_module("mlp", Mlp(config));
  input_norm_ = register_module("input_layernorm", RmsNorm(D, config.rms_norm_eps));
  post_attention_norm_ =
      register_module("post_attention_layernorm", RmsNorm(D, config.rms_norm_eps));
}

Tensor BlockImpl::forward(const Tensor& x, const Step& step, LayerState* state) {
  return finish(x, mixer_->forward(mixer_input(x), step, state));
}

Tensor BlockImpl::mixer_input(const Tensor& x) { return input_norm_(x); }

Tensor BlockImpl::finish(const Tensor& x, const Tensor& mixer_output) {
  const auto [h, normed] = post_attention_norm_->add(x, mixer_output);
  return h + mlp_(normed);
}

}  // namespace hypenet
