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

Tensor LightningMixer::forward(const Tensor& x, const Step& step) { return mix(x, step, {}); }

Tensor LightningMixer::prefill(const Tensor& x, const Step& step, const Prefix& prefix,
                               LayerMemory& memory) {
  return mix(x, step, std::get<RecurrentStates>(memory).states.narrow(0, prefix.slot, 1));
}

void LightningMixer::step(const Tensor& h, const RmsNorm& norm, const TokenRows& rows,
                          LayerMemory& memory) {
  const auto [q, k, v, gate] = project_step(h, norm, {q_proj_, k_proj_, v_proj_, z_proj_});
  LightningStepInput input{.q = q,
                           .k = k,
                           .v = v,
                           .decay = decay_on(h.device()),
                           .scale = scale_,
                           .eps = eps_,
                           .state = std::get<RecurrentStates>(memory).states,
                           .slots = rows.slots,
                           .is_settled = true};
  if (q_norm_) input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
  if (use_rope_) input.angles = rows.angles;
  add_linear_step(h, lightning_step(input), o_norm_, gate, o_proj_);
}

Tensor LightningMixer::mix(const Tensor& x, const Step& step, const Tensor& state) {
  const auto [queries, keys, values, gate] = project(x, {q_proj_, k_proj_, v_proj_, z_proj_});
  LightningInput input{.q = split_heads(step.to_rows(queries), query_heads_),  // [B, T, H, d]
                       .k = split_heads(step.to_rows(keys), key_heads_),
                       .v = split_heads(step.to_rows(values), key_heads_),
                       .decay = decay_on(x.device()),
                       .scale = scale_,
                       .state = state,
                       .needs_state = state.defined()};
  Tensor &k = input.k, &v = input.v;
  input.q = norm_and_rotate(input.q, q_norm_, use_rope_, step.angles);
  k = norm_and_rotate(k, k_norm_, use_rope_, step.angles);
  if (step.valid.defined()) {
    const Tensor token = step.valid.unsqueeze(-1);  // [B, T, 1, 1]
    k = k * token, v = v * token;
  }
  if (key_heads_ < query_heads_) {
    const int64_t group = query_heads_ / key_heads_;
    k = k.repeat_interleave(group, 2), v = v.repeat_interleave(group, 2);
  }
  const LightningOutput found = lightning_attention(input);
  if (state.defined()) state.copy_(found.state);
  Tensor y = step.from_rows(found.output.flatten(2));
  if (o_norm_ && z_proj_) return o_proj_(o_norm_->gated(y, gate));
  if (o_norm_) y = o_norm_(y);
  if (z_proj_) y = sigmoid_gate(y, gate);
  return o_proj_(y);
}

const Tensor& LightningMixer::decay_on(torch::Device device) {
  if (decay_.device() != device) decay_ = decay_.to(device);
  return decay_;
}

}  // namespace hypenet
