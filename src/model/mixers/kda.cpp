// Decay and output gate come through projections of rank d.
#include "model/mixers/kda.h"

#include "ops/decay_gate.h"

namespace hypenet {
namespace {

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& kda = config.mixers.of<KdaConfig>();
  kda.head_dim = config.head_dim, kda.num_heads = config.num_attention_heads;
  read_fields(keys, place, kda);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& kda = config.mixers.of<KdaConfig>();
  check_size(place, "kda_num_heads", kda.num_heads);
  check_size(place, "kda_head_dim", kda.head_dim);
  check_size(place, "kda_conv_size", kda.conv_size);
  const double bound = kda.lower_bound.value_or(-5);
  HYPENET_CHECK(bound >= -5 && bound < 0, place,
                ": kda_lower_bound: expected null, or a number from -5 to below 0, found ", bound);
  if (kda.use_rope) check_rotated(config, place, "kda_head_dim", kda.head_dim);
}

std::shared_ptr<TokenMixer> make_kda(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<KdaMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  return delta_parts(config.mixers.of<KdaConfig>().form());
}

bool has_step_kernels(const ModelConfig& config) {
  return has_delta_step_kernels(config.mixers.of<KdaConfig>().form());
}

int64_t rope_size(const ModelConfig& config) {
  const auto& kda = config.mixers.of<KdaConfig>();
  return kda.use_rope ? kda.head_dim : 0;
}

MixerWork work_of(const ModelConfig& config, double context) {
  const auto& kda = config.mixers.of<KdaConfig>();
  const int64_t D = config.hidden_size, H = kda.num_heads, d = kda.head_dim;
  MixerWork work = delta_work(config, kda.form(), context);
  work.input_weights += static_cast<double>(H * D + 2 * (D * d + d * H * d));
  return work;
}

}  // namespace

const MixerKind kKdaMixer = {.name = "kda",
                             .title = "Kimi Delta Attention",
                             .is_recurrent = true,
                             .splits_rows = true,
                             .make = make_kda,
                             .parts = parts_of,
                             .has_step_kernels = has_step_kernels,
                             .rope_size = rope_size,
                             .work = work_of,
                             .write = write_mixer_config<KdaConfig>,
                             .read = read_config,
                             .check = check_config};

DeltaForm KdaConfig::form() const {
  return {.heads = num_heads,
          .query_heads = num_heads,
          .key_heads = num_heads,
          .value_heads = num_heads,
          .key_size = head_dim,
          .value_size = head_dim,
          .taps = use_conv ? conv_size : 0,
          .has_silu = use_conv,
          .has_qk_norm = use_qk_norm,
          .has_rope = use_rope};
}

KdaMixer::KdaMixer(const ModelConfig& config)
    : DeltaMixer(config, config.mixers.of<KdaConfig>().form()) {
  const auto& kda = config.mixers.of<KdaConfig>();
  const int64_t D = config.hidden_size, H = kda.num_heads, d = kda.head_dim;
  lower_bound_ = kda.lower_bound;
  most_beta_ = kda.allow_neg_eigval ? 2 : 1;
  b_proj_ = register_module("b_proj", Linear(D, H, false));
  f_a_proj_ = register_module("f_a_proj", Linear(D, d, false));
  f_b_proj_ = register_module("f_b_proj", Linear(d, H * d, false));
  g_a_proj_ = register_module("g_a_proj", Linear(D, d, false));
  g_b_proj_ = register_module("g_b_proj", Linear(d, H * d, kda.use_gate_bias));
  A_log_ = register_parameter("A_log", torch::zeros({1, 1, H, 1}));
  dt_bias_ = register_parameter("dt_bias", torch::zeros({H * d}));
}

void KdaMixer::draw_own_parameters() {
  DeltaMixer::draw_own_parameters();
  const Tensor steps = new_time_steps(dt_bias_.sizes());
  if (lower_bound_) {
    A_log_.zero_();
    dt_bias_.copy_((steps / -*lower_bound_).logit());
  } else {
    A_log_.copy_(new_log_rates(A_log_.sizes(), kLeastKdaRate));
    dt_bias_.copy_(inverse_softplus(steps));
  }
}

DeltaMixer::Brought KdaMixer::project_tokens(const Tensor& x) {
  const auto [q, k, v, b, f, g] =
      project(x, {q_proj_, k_proj_, v_proj_, b_proj_, f_a_proj_, g_a_proj_});
  return {{q, k, v},
          decay_gate(f_b_proj_(f), A_log_, dt_bias_, lower_bound_),
          beta_gate(b, most_beta_),
          g_b_proj_(g)};
}

DeltaMixer::BroughtRows KdaMixer::project_rows(const Normed& x) {
  const auto [q, k, v, b, f, g] =
      project_step(x, {q_proj_, k_proj_, v_proj_, b_proj_, f_a_proj_, g_a_proj_});
  return {{.q = q,
           .k = k,
           .v = v,
           .z = apply_step(f, f_b_proj_),
           .A_log = A_log_,
           .dt_bias = dt_bias_,
           .lower_bound = lower_bound_,
           .b = b,
           .most_beta = most_beta_},
          apply_step(g, g_b_proj_)};
}

Tensor KdaMixer::gated(const Tensor& o, const Tensor& gate) {
  return o_norm_->gated(o, split_heads(gate, form_.heads)).flatten(-2);
}

}  // namespace hypenet
