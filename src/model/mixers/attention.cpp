// The teacher's attention and HypeNet's are one forward: rope, scaling and gate are there or not.
#include "model/mixers/attention.h"

#include "ops/attention.h"
#include "ops/gating.h"

namespace hypenet {
namespace {

/// Appends this step's keys or values [B, T, G, d] and returns all that the cache now holds, in
/// their type.
Tensor append(Tensor& cache, const Tensor& fresh, int64_t past) {
  const int64_t T = fresh.size(1);
  cache.narrow(1, past, T).copy_(fresh);
  return cache.narrow(1, 0, past + T).to(fresh.scalar_type());
}

}  // namespace

AttentionMixer::AttentionMixer(const ModelConfig& config)
    : query_heads_(config.num_attention_heads),
      key_heads_(config.num_key_value_heads),
      use_rope_(config.attn_use_rope) {
  const int64_t D = config.hidden_size, d = config.head_dim;
  const int64_t wide = query_heads_ * d, narrow = key_heads_ * d;
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, wide, bias));
  k_proj_ = register_module("k_proj", Linear(D, narrow, bias));
  v_proj_ = register_module("v_proj", Linear(D, narrow, bias));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (config.has_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(d, config.rms_norm_eps));
    k_norm_ = register_module("k_norm", RmsNorm(d, config.rms_norm_eps));
  }
  if (config.attn_use_output_gate) o_gate_ = register_module("o_gate", Linear(D, wide, false));
}

Tensor AttentionMixer::forward(const Tensor& x, const Step& step, LayerState* state) {
  const auto [queries, keys, values, gate] = project(x, {q_proj_, k_proj_, v_proj_, o_gate_});
  Tensor q = split_heads(queries, query_heads_);  // [B, T, H, d]
  Tensor k = split_heads(keys, key_heads_);       // [B, T, G, d]
  Tensor v = split_heads(values, key_heads_);
  q = norm_and_rotate(q, q_norm_, use_rope_, step.angles);
  k = norm_and_rotate(k, k_norm_, use_rope_, step.angles);
  // float32 until after the product: s_t near a million differs from its neighbours by less than
  // bfloat16 holds.
  if (step.query_scale.defined()) q = (q * step.query_scale).to(x.scalar_type());
  if (state != nullptr) {
    auto& cache = std::get<KvCache>(*state);
    k = append(cache.keys, k, step.past), v = append(cache.values, v, step.past);
  }
  Tensor y = causal_attention(q, k, v, step.first_token).flatten(2);  // [B, T, H d]
  if (o_gate_) y = sigmoid_gate(y, gate);
  return o_proj_(y);
}

}  // namespace hypenet
