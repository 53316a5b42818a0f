// Padding is kept out of the state by zero keys and values.
#include "model/mixers/lightning.h"

#include "ops/gating.h"
#include "ops/lightning.h"
#include "ops/lightning_step.h"

namespace hypenet {

LightningMixer::LightningMixer(const ModelConfig& config)
    : query_heads_(config.lightning_nh),
      key_heads_(config.lightning_nkv),
      use_rope_(config.lightning_use_rope),
      scale_(config.lightning_scale_value()),
      eps_(config.rms_norm_eps),
      decay_(lightning_decay(config.lightning_nh)) {
  const int64_t D = config.hidden_size, d = config.lightning_head_dim;
  const int64_t wide = query_heads_ * d, narrow = key_heads_ * d;
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, wide, bias));
  k_proj_ = register_module("k_proj", Linear(D, narrow, bias));
  v_proj_ = register_module("v_proj", Linear(D, narrow, bias));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (config.lightning_use_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(d, eps_));
    k_norm_ = register_module("k_norm", RmsNorm(d, eps_));
  }
  if (config.lightning_use_output_norm) o_norm_ = register_module("o_norm", RmsNorm(wide, eps_));
  if (config.lightning_use_output_gate) z_proj_ = register_module("z_proj", Linear(D, wide, false));
}

Tensor LightningMixer::forward(const Tensor& x, const Step& step, LayerState* state) {
  const bool is_decode = state != nullptr && x.size(1) == 1 && !step.valid.defined();
  if (is_decode && !torch::GradMode::is_enabled()) return decode(x, step, *state);
  const auto [queries, keys, values, gate] = project(x, {q_proj_, k_proj_, v_proj_, z_proj_});
  Tensor q = split_heads(queries, query_heads_);  // [B, T, H, d]
  Tensor k = split_heads(keys, key_heads_);
  Tensor v = split_heads(values, key_heads_);
  q = norm_and_rotate(q, q_norm_, use_rope_, step.angles);
  k = norm_and_rotate(k, k_norm_, use_rope_, step.angles);
  if (step.valid.defined()) {
    const Tensor token = step.valid.unsqueeze(-1);  // [B, T, 1, 1]
    k = k * token, v = v * token;
  }
  if (key_heads_ < query_heads_) {
    const int64_t group = query_heads_ / key_heads_;
    k = k.repeat_interleave(group, 2), v = v.repeat_interleave(group, 2);
  }
  Tensor y = mix(q, k, v, state);
  if (o_norm_ && z_proj_) return o_proj_(o_norm_->gated(y, gate));
  if (o_norm_) y = o_norm_(y);
  if (z_proj_) y = sigmoid_gate(y, gate);
  return o_proj_(y);
}

Tensor LightningMixer::decode(const Tensor& x, const Step& step, LayerState& state) {
  const Tensor token = x.squeeze(1);  // [B, D]
  LightningStepInput input{.q = q_proj_(token),
                           .k = k_proj_(token),
                           .v = v_proj_(token),
                           .decay = decay_on(x.device()),
                           .scale = scale_,
                           .eps = eps_,
                           .state = std::get<RecurrentState>(state).state};
  if (q_norm_) input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
  if (use_rope_) input.angles = {step.angles.cos.squeeze(-2), step.angles.sin.squeeze(-2)};
  if (o_norm_) input.o_weight = o_norm_->weight;
  if (z_proj_) input.gate = z_proj_(token);
  return o_proj_(lightning_step(input)).unsqueeze(1);
}

const Tensor& LightningMixer::decay_on(torch::Device device) {
  if (decay_.device() != device) decay_ = decay_.to(device);
  return decay_;
}

Tensor LightningMixer::mix(const Tensor& q, const Tensor& k, const Tensor& v, LayerState* state) {
  LightningInput input{.q = q, .k = k, .v = v, .decay = decay_on(q.device()), .scale = scale_};
  input.needs_state = state != nullptr;
  if (state == nullptr) return lightning_attention(input).output.flatten(2);
  Tensor& memory = std::get<RecurrentState>(*state).state;
  input.state = memory;
  const LightningOutput output = lightning_attention(input);
  memory.copy_(output.state);
  return output.output.flatten(2);
}

}  // namespace hypenet
