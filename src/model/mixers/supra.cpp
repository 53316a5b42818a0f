// The norm of each head stands in for softmax's divisor: after RoPE scores may be negative, and
// their sum near zero.
#include "model/mixers/supra.h"

#include <cmath>

#include "ops/form.h"
#include "ops/lightning.h"
#include "ops/lightning_step.h"

namespace hypenet {
namespace {

constexpr double kNormEps = 1e-5;

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& supra = config.mixers.of<SupraConfig>();
  supra.n_heads = config.num_attention_heads, supra.n_heads_kv = config.num_key_value_heads;
  supra.qk_head_dim = config.head_dim;
  read_fields(keys, place, supra);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& supra = config.mixers.of<SupraConfig>();
  check_divides(place, "supra_n_heads", supra.n_heads, "supra_n_heads_kv", supra.n_heads_kv);
  check_size(place, "supra_qk_head_dim", supra.qk_head_dim);
  HYPENET_CHECK(!supra.qk_norm, place, ": supra_qk_norm: expected false, found true");
  check_rotated(config, place, "supra_qk_head_dim", supra.qk_head_dim);
}

std::shared_ptr<TokenMixer> make_supra(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<SupraMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& supra = config.mixers.of<SupraConfig>();
  return {{"state", {supra.n_heads, supra.qk_head_dim, supra.qk_head_dim}}};
}

bool has_step_kernels(const ModelConfig& config) {
  return is_step_head(config.mixers.of<SupraConfig>().qk_head_dim);
}

int64_t rope_size(const ModelConfig& config) { return config.mixers.of<SupraConfig>().qk_head_dim; }

/// As lightning attention's, and the maps of queries and keys.
MixerWork work_of(const ModelConfig& config, double context) {
  constexpr double kChunk = 64;
  const auto& supra = config.mixers.of<SupraConfig>();
  const int64_t H = supra.n_heads, G = supra.n_heads_kv;
  MixerWork work = projection_work(config, H, G, supra.qk_head_dim, false);
  const auto d = static_cast<double>(supra.qk_head_dim);
  work.input_weights += static_cast<double>(H * H + G * G) * d * d;
  const double unit = static_cast<double>(H) * (std::min<double>(kChunk, context) * d + d * d);
  work.forward = 4 * unit, work.backward = 10 * unit;
  return work;
}

}  // namespace

const MixerKind kSupraMixer = {.name = "supra",
                               .title = "SUPRA",
                               .is_recurrent = true,
                               .make = make_supra,
                               .parts = parts_of,
                               .has_step_kernels = has_step_kernels,
                               .rope_size = rope_size,
                               .work = work_of,
                               .write = write_mixer_config<SupraConfig>,
                               .read = read_config,
                               .check = check_config};

Tensor SupraConfig::decay() const {
  if (!use_decay) return torch::zeros({n_heads});
  if (!use_retnet_slopes) return lightning_decay(n_heads);
  const Tensor power = -5 - torch::arange(n_heads, torch::kFloat64);
  return -torch::log1p(-torch::exp2(power)).to(torch::kFloat32);
}

SupraMixer::SupraMixer(const ModelConfig& config)
    : config_(config.mixers.of<SupraConfig>()),
      scale_(1 / std::sqrt(static_cast<double>(config_.qk_head_dim))),
      decay_(config_.decay()) {
  const int64_t D = config.hidden_size, d = config_.qk_head_dim;
  const int64_t wide = config_.n_heads * d, narrow = config_.n_heads_kv * d;
  in_proj_ = register_module("in_proj", Linear(D, wide + 2 * narrow, config.attention_bias));
  out_proj_ = register_module("out_proj", Linear(wide, D, config.attention_output_bias));
  embed_ = register_module("_totrain_embed", Linear(wide, wide, true));
  if (narrow == wide) return;
  embed_kv_ = register_module("_totrain_embed_kv", Linear(narrow, narrow, true));
}

void SupraMixer::draw_own_parameters() {
  for (const Linear& map : {embed_, embed_kv_}) {
    if (!map) continue;
    const double bound = 1 / std::sqrt(static_cast<double>(map->weights.bias.master.size(0)));
    map->weights.weight.master.uniform_(-bound, bound);
    map->weights.bias.master.uniform_(-bound, bound);
  }
}

Tensor SupraMixer::forward(const Tensor& x, const Context& context) {
  std::vector<Tensor> qkv = parts_of(in_proj_(x));
  qkv[0] = embed_(qkv[0]).relu(), qkv[1] = key_map()(qkv[1]).relu();
  for (Tensor& y : qkv) y = context.to_rows(y);
  const Tensor o = recurrence(recurrence_of(qkv, context)).output;
  return out_proj_(context.from_rows(normed(o)));
}

Tensor SupraMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                           LayerMemory& memory) {
  std::vector<Tensor> qkv = parts_of(in_proj_(x));
  qkv[0] = embed_(qkv[0]).relu(), qkv[1] = key_map()(qkv[1]).relu();
  const Recurrence tokens = recurrence_of(qkv, context);
  const auto mix = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
    const RecurrenceOutput found = recurrence({.q = inputs[0],
                                               .k = inputs[1],
                                               .v = inputs[2],
                                               .decay = decay_on(inputs[0].device()),
                                               .scale = scale_,
                                               .state = state});
    state.copy_(found.state);
    return found.output;
  };
  return out_proj_(normed(along_sequence(prefix, {tokens.q, tokens.k, tokens.v}, mix)));
}

StepOutput SupraMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor> qkv = parts_of(project_step(x, {in_proj_})[0]);
  const auto mapped = [](const Tensor& y, const Linear& map) {
    return apply_step(y.contiguous(), map).relu();
  };
  const Tensor o = lightning_step({.q = mapped(qkv[0], embed_),
                                   .k = mapped(qkv[1], key_map()),
                                   .v = qkv[2].contiguous(),
                                   .angles = rows.angles,
                                   .decay = decay_on(x.h.device()),
                                   .scale = scale_,
                                   .state = std::get<RecurrentStates>(memory).parts[0],
                                   .slots = rows.slots});
  return {.x = normed(split_heads(o, config_.n_heads)), .projection = out_proj_};
}

std::vector<Tensor> SupraMixer::parts_of(const Tensor& projected) const {
  const int64_t d = config_.qk_head_dim, narrow = config_.n_heads_kv * d;
  return projected.split_with_sizes({config_.n_heads * d, narrow, narrow}, -1);
}

Recurrence SupraMixer::recurrence_of(const std::vector<Tensor>& qkv, const Context& context) {
  const int64_t H = config_.n_heads, G = config_.n_heads_kv;
  Tensor k = apply_rope(split_heads(qkv[1], G), context.angles), v = split_heads(qkv[2], G);
  if (context.valid.defined()) {
    const Tensor token = context.valid.unsqueeze(-1);  // [B, T, 1, 1]
    k = k * token, v = v * token;
  }
  return {.q = apply_rope(split_heads(qkv[0], H), context.angles),
          .k = repeat_heads(k, H),
          .v = repeat_heads(v, H),
          .decay = decay_on(qkv[0].device()),
          .scale = scale_,
          .needs_state = false};
}

Tensor SupraMixer::normed(const Tensor& o) const {
  return torch::layer_norm(o, {o.size(-1)}, {}, {}, kNormEps).flatten(-2);
}

const Tensor& SupraMixer::decay_on(torch::Device device) {
  if (decay_.device() != device) decay_ = decay_.to(device);
  return decay_;
}

}  // namespace hypenet
