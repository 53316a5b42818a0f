// The decay is one number a head and token.
#include "model/mixers/gdn.h"

#include <cmath>

#include "ops/decay_gate.h"

namespace hypenet {
namespace {

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& gdn = config.mixers.of<GdnConfig>();
  gdn.head_dim = config.head_dim;
  gdn.nh = config.num_attention_heads, gdn.nkv = config.num_key_value_heads;
  read_fields(keys, place, gdn);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& gdn = config.mixers.of<GdnConfig>();
  check_divides(place, "gdn_nh", gdn.nh, "gdn_nkv", gdn.nkv);
  if (gdn.num_v_heads) check_divides(place, "gdn_num_v_heads", *gdn.num_v_heads, "gdn_nh", gdn.nh);
  check_size(place, "gdn_head_dim", gdn.head_dim);
  const double dv = gdn.expand_v * static_cast<double>(gdn.head_dim);
  // A published factor is a quotient of sizes, rounded.
  HYPENET_CHECK(dv > 0.5 && dv <= 1 << 20 && std::abs(dv - std::round(dv)) < 1e-6, place,
                ": gdn_expand_v: expected a factor that makes gdn_head_dim ", gdn.head_dim,
                " another whole number, found ", gdn.expand_v);
  check_size(place, "gdn_conv_size", gdn.conv_size);
  HYPENET_CHECK(!gdn.activation || gdn.activation == "silu", place,
                ": gdn_activation: expected null or \"silu\", found \"",
                gdn.activation.value_or(""), "\"");
  if (gdn.use_rope) check_rotated(config, place, "gdn_head_dim", gdn.head_dim);
}

std::shared_ptr<TokenMixer> make_gdn(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<GdnMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  return delta_parts(config.mixers.of<GdnConfig>().form());
}

bool has_step_kernels(const ModelConfig& config) {
  return has_delta_step_kernels(config.mixers.of<GdnConfig>().form());
}

int64_t rope_size(const ModelConfig& config) {
  const auto& gdn = config.mixers.of<GdnConfig>();
  return gdn.use_rope ? gdn.head_dim : 0;
}

MixerWork work_of(const ModelConfig& config, double context) {
  const auto& gdn = config.mixers.of<GdnConfig>();
  const DeltaForm form = gdn.form();
  MixerWork work = delta_work(config, form, context);
  const int64_t rows = 2 * form.heads + (gdn.use_gate ? form.heads * form.value_size : 0);
  work.input_weights += static_cast<double>(rows * config.hidden_size);
  return work;
}

}  // namespace

const MixerKind kGdnMixer = {.name = "gdn",
                             .title = "Gated DeltaNet",
                             .is_recurrent = true,
                             .splits_rows = true,
                             .make = make_gdn,
                             .parts = parts_of,
                             .has_step_kernels = has_step_kernels,
                             .rope_size = rope_size,
                             .work = work_of,
                             .write = write_mixer_config<GdnConfig>,
                             .read = read_config,
                             .check = check_config};

DeltaForm GdnConfig::form() const {
  return {.heads = num_v_heads.value_or(nh),
          .query_heads = nh,
          .key_heads = nkv,
          .value_heads = num_v_heads.value_or(nkv),
          .key_size = head_dim,
          .value_size = std::llround(expand_v * static_cast<double>(head_dim)),
          .taps = use_short_conv ? conv_size : 0,
          .has_silu = activation.has_value(),
          .has_qk_norm = use_qk_norm,
          .has_rope = use_rope};
}

GdnMixer::GdnMixer(const ModelConfig& config)
    : DeltaMixer(config, config.mixers.of<GdnConfig>().form()) {
  const auto& gdn = config.mixers.of<GdnConfig>();
  const int64_t D = config.hidden_size, H = form_.heads;
  most_beta_ = gdn.allow_neg_eigval ? 2 : 1;
  a_proj_ = register_module("a_proj", Linear(D, H, false));
  b_proj_ = register_module("b_proj", Linear(D, H, false));
  if (gdn.use_gate) {
    g_proj_ = register_module("g_proj", Linear(D, H * form_.value_size, false));
  }
  A_log_ = register_parameter("A_log", torch::zeros({H}));
  dt_bias_ = register_parameter("dt_bias", torch::zeros({H}));
}

void GdnMixer::draw_own_parameters() {
  DeltaMixer::draw_own_parameters();
  A_log_.copy_(new_log_rates(A_log_.sizes(), kLeastGdnRate));
  dt_bias_.copy_(inverse_softplus(new_time_steps(dt_bias_.sizes())));
}

DeltaMixer::Brought GdnMixer::project_tokens(const Tensor& x) {
  const auto [q, k, v, a, b, gate] =
      project(x, {q_proj_, k_proj_, v_proj_, a_proj_, b_proj_, g_proj_});
  return {{q, k, v}, decay_gate(a, A_log_, dt_bias_), beta_gate(b, most_beta_), gate};
}

DeltaMixer::BroughtRows GdnMixer::project_rows(const Normed& x) {
  const auto [q, k, v, a, b, gate] =
      project_step(x, {q_proj_, k_proj_, v_proj_, a_proj_, b_proj_, g_proj_});
  return {{.q = q,
           .k = k,
           .v = v,
           .z = a,
           .A_log = A_log_,
           .dt_bias = dt_bias_,
           .b = b,
           .most_beta = most_beta_},
          gate};
}

Tensor GdnMixer::gated(const Tensor& o, const Tensor& gate) {
  if (!g_proj_) return o_norm_(o).flatten(-2);
  return o_norm_->silu_gated(o, split_heads(gate, form_.heads)).flatten(-2);
}

}  // namespace hypenet
