// The teacher's attention and HypeNet's are one forward: rope, scaling and gate are there or not.
#include "model/mixers/attention.h"

#include "ops/attention.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/prefill_attention.h"

namespace hypenet {
namespace {

std::shared_ptr<TokenMixer> make_attention(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<AttentionMixer>(config);
}

bool has_step_kernels(const ModelConfig& config) {
  return is_step_head(config.head_dim) &&
         config.num_attention_heads <= kMostStepGroup * config.num_key_value_heads;
}

int64_t rope_size(const ModelConfig& config) { return config.attn_use_rope ? config.head_dim : 0; }

/// A token looks at half of the context, on average.
MixerWork work_of(const ModelConfig& config, double context) {
  MixerWork work = projection_work(config, config.num_attention_heads, config.num_key_value_heads,
                                   config.head_dim, config.attn_use_output_gate);
  work.forward = 2 * static_cast<double>(config.num_attention_heads * config.head_dim) * context;
  work.backward = 2 * work.forward;
  return work;
}

}  // namespace

const MixerKind kAttentionMixer = {.name = "attn",
                                   .title = "attention",
                                   .is_recurrent = false,
                                   .splits_rows = true,
                                   .make = make_attention,
                                   .has_step_kernels = has_step_kernels,
                                   .rope_size = rope_size,
                                   .work = work_of};

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

AttentionMixer::Heads AttentionMixer::heads(const Tensor& x, const Context& context) {
  const auto [queries, keys, values, gate] = project(x, {q_proj_, k_proj_, v_proj_, o_gate_});
  Heads heads{split_heads(context.to_rows(queries), query_heads_),
              split_heads(context.to_rows(keys), key_heads_),
              split_heads(context.to_rows(values), key_heads_), gate};
  heads.q = norm_and_rotate(heads.q, q_norm_, use_rope_, context.angles);
  heads.k = norm_and_rotate(heads.k, k_norm_, use_rope_, context.angles);
  // float32 until after the product: s_t near a million differs from its neighbours by less than
  // bfloat16 holds.
  if (context.query_scale.defined()) heads.q = (heads.q * context.query_scale).to(x.scalar_type());
  return heads;
}

Tensor AttentionMixer::output(const Tensor& joined, const Tensor& gate) {
  return o_proj_(o_gate_ ? sigmoid_gate(joined, gate) : joined);
}

Tensor AttentionMixer::forward(const Tensor& x, const Context& context) {
  const Heads in = heads(x, context);
  const Tensor y = context.row ? row_attention(in.q, in.k, in.v, context.row)
                               : causal_attention(in.q, in.k, in.v, context.first_token);
  return output(context.from_rows(y.flatten(2)), in.gate);
}

Tensor AttentionMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                               LayerMemory& memory) {
  const Heads in = heads(x, context);
  const auto attend = [&memory](const std::vector<Tensor>& qkv, const Prefix& chunk) {
    const Tensor q = qkv[0][0], k = qkv[1][0], v = qkv[2][0];
    const auto& cache = std::get<KvPages>(memory);
    cache.write(chunk.places, {k, v});
    return prefill_attention(q, k, v, cache, chunk.pages, chunk.past).unsqueeze(0);
  };
  return output(along_sequence(prefix, {in.q, in.k, in.v}, attend).flatten(2), in.gate);
}

StepOutput AttentionMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const auto [q, k, v, gate] = project_step(x, {q_proj_, k_proj_, v_proj_, o_gate_});
  AttentionStepInput input{.q = q,
                           .k = k,
                           .v = v,
                           .query_scale = rows.query_scale,
                           .gate = gate,
                           .cache = std::get<KvPages>(memory),
                           .page_table = rows.page_table,
                           .slots = rows.slots,
                           .positions = rows.positions};
  if (q_norm_) {
    input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
    input.eps = q_norm_->eps();
  }
  if (use_rope_) input.angles = rows.angles;
  return {.x = attention_step(input), .projection = o_proj_};
}

}  // namespace hypenet
