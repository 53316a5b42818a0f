// Padding is kept out of the state by zero keys and values.
#include "model/mixers/lightning.h"

#include <algorithm>
#include <cmath>

#include "ops/form.h"
#include "ops/gating.h"
#include "ops/lightning.h"
#include "ops/lightning_step.h"
#include "ops/recurrence.h"

namespace hypenet {

namespace {

Json write_config(const ModelConfig& config) {
  Json json = write_fields(config.mixers.of<LightningConfig>());
  // transformers' code has it apart; here all layers turn alike (model/config.cpp reads both).
  json["lightning_rope_scaling"] = write_fields(config.rope_scaling);
  return json;
}

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  Json own = keys;
  own.erase("lightning_rope_scaling");
  auto& lightning = config.mixers.of<LightningConfig>();
  lightning.head_dim = config.head_dim;
  lightning.nh = config.num_attention_heads;
  read_fields(own, place, lightning);
  if (!own.contains("lightning_nkv")) lightning.nkv = lightning.nh;
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& lightning = config.mixers.of<LightningConfig>();
  check_divides(place, "lightning_nh", lightning.nh, "lightning_nkv", lightning.nkv);
  check_size(place, "lightning_head_dim", lightning.head_dim);
  HYPENET_CHECK(!lightning.use_short_conv, place,
                ": lightning_use_short_conv: expected false, found true");
  if (lightning.use_rope) check_rotated(config, place, "lightning_head_dim", lightning.head_dim);
}

std::shared_ptr<TokenMixer> make_lightning(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<LightningMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& lightning = config.mixers.of<LightningConfig>();
  return {{"state", {lightning.nh, lightning.head_dim, lightning.head_dim}}};
}

bool has_step_kernels(const ModelConfig& config) {
  return is_step_head(config.mixers.of<LightningConfig>().head_dim);
}

int64_t rope_size(const ModelConfig& config) {
  const auto& lightning = config.mixers.of<LightningConfig>();
  return lightning.use_rope ? lightning.head_dim : 0;
}

/// Of one head forward 4, forward and backward 14 times C d + d^2: whole chunks without their
/// causal half left out.
MixerWork work_of(const ModelConfig& config, double context) {
  constexpr double kChunk = 64;
  const auto& lightning = config.mixers.of<LightningConfig>();
  MixerWork work = projection_work(config, lightning.nh, lightning.nkv, lightning.head_dim,
                                   lightning.use_output_gate);
  const auto d = static_cast<double>(lightning.head_dim);
  const double unit =
      static_cast<double>(lightning.nh) * (std::min<double>(kChunk, context) * d + d * d);
  work.forward = 4 * unit, work.backward = 10 * unit;
  return work;
}

}  // namespace

const MixerKind kLightningMixer = {.name = "lightning-attn",
                                   .title = "lightning attention",
                                   .is_recurrent = true,
                                   .splits_rows = true,
                                   .make = make_lightning,
                                   .parts = parts_of,
                                   .has_step_kernels = has_step_kernels,
                                   .rope_size = rope_size,
                                   .work = work_of,
                                   .write = write_config,
                                   .read = read_config,
                                   .check = check_config};

double LightningConfig::scale_value() const {
  const auto d = static_cast<double>(head_dim);
  if (scale == "1/sqrt(d)") return 1 / std::sqrt(d);
  if (scale == "1/d") return 1 / d;
  return 1;
}

LightningMixer::LightningMixer(const ModelConfig& config)
    : config_(config.mixers.of<LightningConfig>()),
      scale_(config_.scale_value()),
      eps_(config.rms_norm_eps),
      decay_(lightning_decay(config_.nh)) {
  const int64_t D = config.hidden_size, d = config_.head_dim;
  const int64_t wide = config_.nh * d, narrow = config_.nkv * d;
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, wide, bias));
  k_proj_ = register_module("k_proj", Linear(D, narrow, bias));
  v_proj_ = register_module("v_proj", Linear(D, narrow, bias));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (config_.use_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(d, eps_));
    k_norm_ = register_module("k_norm", RmsNorm(d, eps_));
  }
  if (config_.use_output_norm) o_norm_ = register_module("o_norm", RmsNorm(wide, eps_));
  if (config_.use_output_gate) z_proj_ = register_module("z_proj", Linear(D, wide, false));
}

Tensor LightningMixer::forward(const Tensor& x, const Context& context) {
  const Heads in = heads(x, context);
  const Recurrence input = recurrence_of(in.q, in.k, in.v);
  const Tensor y = context.row ? row_recurrence(input, context.row) : recurrence(input).output;
  return output(context.from_rows(y.flatten(2)), in.gate);
}

Tensor LightningMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                               LayerMemory& memory) {
  const Heads in = heads(x, context);
  const auto mix = [this, &memory](const std::vector<Tensor>& qkv, const Prefix& chunk) {
    Recurrence input = recurrence_of(qkv[0], qkv[1], qkv[2]);
    input.state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
    input.needs_state = true;
    const RecurrenceOutput found = recurrence(input);
    input.state.copy_(found.state);
    return found.output;
  };
  return output(along_sequence(prefix, {in.q, in.k, in.v}, mix).flatten(2), in.gate);
}

StepOutput LightningMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const auto [q, k, v, gate] = project_step(x, {q_proj_, k_proj_, v_proj_, z_proj_});
  LightningStepInput input{.q = q,
                           .k = k,
                           .v = v,
                           .decay = decay_on(x.h.device()),
                           .scale = scale_,
                           .eps = eps_,
                           .state = std::get<RecurrentStates>(memory).parts[0],
                           .slots = rows.slots};
  if (q_norm_) input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
  if (config_.use_rope) input.angles = rows.angles;
  return {.x = lightning_step(input), .norm = o_norm_, .gate = gate, .projection = o_proj_};
}

LightningMixer::Heads LightningMixer::heads(const Tensor& x, const Context& context) {
  const auto [queries, keys, values, gate] = project(x, {q_proj_, k_proj_, v_proj_, z_proj_});
  Heads heads{split_heads(context.to_rows(queries), config_.nh),
              split_heads(context.to_rows(keys), config_.nkv),
              split_heads(context.to_rows(values), config_.nkv), gate};
  Tensor &k = heads.k, &v = heads.v;
  heads.q = norm_and_rotate(heads.q, q_norm_, config_.use_rope, context.angles);
  k = norm_and_rotate(k, k_norm_, config_.use_rope, context.angles);
  if (context.valid.defined()) {
    const Tensor token = context.valid.unsqueeze(-1);  // [B, T, 1, 1]
    k = k * token, v = v * token;
  }
  if (config_.nkv < config_.nh) {
    const int64_t group = config_.nh / config_.nkv;
    k = k.repeat_interleave(group, 2), v = v.repeat_interleave(group, 2);
  }
  return heads;
}

Recurrence LightningMixer::recurrence_of(const Tensor& q, const Tensor& k, const Tensor& v) {
  return {
      .q = q, .k = k, .v = v, .decay = decay_on(q.device()), .scale = scale_, .needs_state = false};
}

Tensor LightningMixer::output(const Tensor& mixed, const Tensor& gate) {
  if (o_norm_ && z_proj_) return o_proj_(o_norm_->gated(mixed, gate));
  const Tensor y = o_norm_ ? o_norm_(mixed) : mixed;
  return o_proj_(z_proj_ ? sigmoid_gate(y, gate) : y);
}

const Tensor& LightningMixer::decay_on(torch::Device device) {
  if (decay_.device() != device) decay_ = decay_.to(device);
  return decay_;
}

}  // namespace hypenet
