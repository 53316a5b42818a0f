// A token that is none, padding or before the first, has zero keys, values and decay: it changes no
// slot, and the window is told where tokens begin.
#include "model/mixers/nha.h"

#include <cmath>

#include "ops/decay_gate.h"
#include "ops/slot_states.h"
#include "ops/types.h"

namespace hypenet {
namespace {

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& nha = config.mixers.of<NhaConfig>();
  nha.num_heads = config.num_attention_heads;
  nha.num_key_value_heads = config.num_key_value_heads;
  nha.head_dim = config.head_dim;
  read_fields(keys, place, nha);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& nha = config.mixers.of<NhaConfig>();
  check_divides(place, "nha_num_heads", nha.num_heads, "nha_num_key_value_heads",
                nha.num_key_value_heads);
  check_size(place, "nha_head_dim", nha.head_dim);
  check_size(place, "nha_num_slots", nha.num_slots);
  check_size(place, "nha_window_size", nha.window_size);
  HYPENET_CHECK(nha.gate_logit_normalizer > 0, place,
                ": nha_gate_logit_normalizer: expected more than 0, found ",
                nha.gate_logit_normalizer);
  check_rotated(config, place, "nha_head_dim", nha.head_dim);
}

std::shared_ptr<TokenMixer> make_nha(const ModelConfig& config, int64_t /*layer*/) {
  return std::make_shared<NhaMixer>(config);
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& nha = config.mixers.of<NhaConfig>();
  const int64_t G = nha.num_key_value_heads, d = nha.head_dim, M = nha.num_slots;
  return {{"slot_keys", {G, d, M}},
          {"slot_values", {G, M, d}},
          {"window", {nha.window_size, G, 3 * d + M}}};
}

bool has_step_kernels(const ModelConfig& /*config*/) { return false; }

int64_t rope_size(const ModelConfig& config) { return config.mixers.of<NhaConfig>().head_dim; }

/// Of a chunk of C: scores and values within it, through the slots and through the window.
MixerWork work_of(const ModelConfig& config, double /*context*/) {
  constexpr double kChunk = 16;
  const auto& nha = config.mixers.of<NhaConfig>();
  MixerWork work =
      projection_work(config, nha.num_heads, nha.num_key_value_heads, nha.head_dim, false);
  const auto D = static_cast<double>(config.hidden_size), d = static_cast<double>(nha.head_dim);
  const auto M = static_cast<double>(nha.num_slots), W = static_cast<double>(nha.window_size);
  work.input_weights += D * static_cast<double>(nha.num_key_value_heads) * M;
  work.forward =
      static_cast<double>(nha.num_heads) * 4 * (kChunk * d + kChunk * M + d * M + (W + kChunk) * d);
  work.backward = 2 * work.forward;
  return work;
}

}  // namespace

const MixerKind kNhaMixer = {.name = "nha",
                             .title = "Native Hybrid Attention",
                             .is_recurrent = true,
                             .make = make_nha,
                             .parts = parts_of,
                             .has_step_kernels = has_step_kernels,
                             .rope_size = rope_size,
                             .work = work_of,
                             .write = write_mixer_config<NhaConfig>,
                             .read = read_config,
                             .check = check_config};

NhaMixer::NhaMixer(const ModelConfig& config) : config_(config.mixers.of<NhaConfig>()) {
  const int64_t D = config.hidden_size, d = config_.head_dim;
  const int64_t wide = config_.num_heads * d, narrow = config_.num_key_value_heads * d;
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, wide, bias));
  k_proj_ = register_module("k_proj", Linear(D, narrow, bias));
  v_proj_ = register_module("v_proj", Linear(D, narrow, bias));
  g_proj_ =
      register_module("g_proj", Linear(D, config_.num_key_value_heads * config_.num_slots, false));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (!config_.use_qk_norm) return;
  q_norm_ = register_module("q_norm", RmsNorm(d, config.rms_norm_eps));
  k_norm_ = register_module("k_norm", RmsNorm(d, config.rms_norm_eps));
}

Tensor NhaMixer::forward(const Tensor& x, const Context& context) {
  std::array<Tensor, 4> projected = project(x, {q_proj_, k_proj_, v_proj_, g_proj_});
  for (Tensor& y : projected) y = context.to_rows(y);
  Heads in = heads(projected, context.angles);
  if (context.valid.defined()) in.token = in.token * context.valid.unsqueeze(-1);
  const int64_t W = config_.window_size;
  const Tensor first =
      context.first_token.defined() ? context.first_token + W : context.first_token;
  std::vector<int64_t> shape = in.token.sizes().vec();
  shape[1] = W;
  const Tensor o = attend(in, torch::zeros(shape, in.token.options()), first, {}, {}).output;
  return o_proj_(context.from_rows(o.flatten(2)));
}

Tensor NhaMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                         LayerMemory& memory) {
  const Heads in = heads(project(x, {q_proj_, k_proj_, v_proj_, g_proj_}), context.angles);
  const auto mix = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const auto own = [&](size_t part) {
      return std::get<RecurrentStates>(memory).parts[part].narrow(0, chunk.slot, 1);
    };
    const int64_t W = config_.window_size;
    const Tensor first = torch::full({1}, std::max<int64_t>(W - chunk.past, 0),
                                     inputs[0].options().dtype(torch::kInt64));
    const SlotAttentionOutput found =
        attend({inputs[0], inputs[1], inputs[2]}, own(2), first, own(0), own(1));
    own(0).copy_(found.slot_keys), own(1).copy_(found.slot_values);
    const Tensor all = torch::cat({own(2), inputs[2]}, 1);
    own(2).copy_(all.narrow(1, inputs[2].size(1), W));
    return found.output;
  };
  const Tensor o = along_sequence(prefix, {in.q, in.rotated_q, in.token}, mix);
  return o_proj_(o.flatten(2));
}

StepOutput NhaMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  std::array<Tensor, 4> projected = project_step(x, {q_proj_, k_proj_, v_proj_, g_proj_});
  for (Tensor& y : projected) y = y.unsqueeze(1);  // each row a sequence of one token
  const Heads in = heads(projected, {rows.angles.cos.unsqueeze(1), rows.angles.sin.unsqueeze(1)});
  const int64_t W = config_.window_size;
  const Tensor first = (W - rows.positions.to(torch::kInt64)).clamp_min(0);
  const auto mix = [&](const std::vector<Tensor>& inputs, const std::vector<Tensor>& states) {
    const SlotAttentionOutput found =
        attend({inputs[0], inputs[1], inputs[2]}, states[2], inputs[3], states[0], states[1]);
    const Tensor window = torch::cat({states[2].narrow(1, 1, W - 1), inputs[2]}, 1);
    return SteppedRows{found.output, {found.slot_keys, found.slot_values, window}};
  };
  const Tensor o = step_rows(rows.slots, {in.q, in.rotated_q, in.token, first},
                             std::get<RecurrentStates>(memory).parts, mix);
  return {.x = o.flatten(1), .projection = o_proj_};
}

NhaMixer::Heads NhaMixer::heads(const std::array<Tensor, 4>& projected, const RopeAngles& angles) {
  const auto& [queries, keys, values, gates] = projected;
  const int64_t G = config_.num_key_value_heads;
  const torch::ScalarType type = sum_type(queries);
  const Tensor q = norm_and_rotate(split_heads(queries, config_.num_heads), q_norm_, false, angles);
  const Tensor k = norm_and_rotate(split_heads(keys, G), k_norm_, false, angles);
  // -log sigmoid(g) = softplus(-g)
  const auto options = gates.options().dtype(type);
  const Tensor decay =
      decay_gate(-gates, torch::zeros({1}, options), torch::zeros({gates.size(-1)}, options)) /
      config_.gate_logit_normalizer;
  const auto wide = [&](const Tensor& y) { return y.to(type); };
  return {q, apply_rope(q, angles),
          torch::cat({wide(k), wide(apply_rope(k, angles)), wide(split_heads(values, G)),
                      split_heads(decay, G)},
                     -1)};
}

SlotAttentionOutput NhaMixer::attend(const Heads& in, const Tensor& window, const Tensor& first_key,
                                     const Tensor& slot_keys, const Tensor& slot_values) const {
  const int64_t d = config_.head_dim;
  const std::vector<Tensor> kept =
      torch::cat({window, in.token}, 1).split_with_sizes({d, d, d, config_.num_slots}, -1);
  return slot_attention({.q = in.q,
                         .rotated_q = in.rotated_q,
                         .k = kept[0],
                         .rotated_k = kept[1],
                         .v = kept[2],
                         .decay = kept[3],
                         .window = config_.window_size,
                         .first_key = first_key,
                         .scale = 1 / std::sqrt(static_cast<double>(d)),
                         .slot_keys = slot_keys,
                         .slot_values = slot_values});
}

}  // namespace hypenet
