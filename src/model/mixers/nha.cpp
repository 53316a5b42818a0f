// A token that is none, padding or before the first, has zero keys, values and decay: it changes no
// slot, and the window is told where tokens begin.
#include "model/mixers/nha.h"

#include <cmath>

#include "ops/decay_gate.h"
#include "ops/slot_step.h"
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

bool has_step_kernels(const ModelConfig& config) {
  const auto& nha = config.mixers.of<NhaConfig>();
  return is_slot_step(nha.head_dim, nha.num_slots, nha.window_size,
                      nha.num_heads / nha.num_key_value_heads);
}

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
  Tokens in = tokens(projected, context.angles);
  if (context.valid.defined()) {
    const Tensor is_token = context.valid.unsqueeze(-1);  // [B, T, 1, 1]
    for (Tensor* y : {&in.k, &in.rotated_k, &in.v, &in.decay}) *y = *y * is_token;
  }
  SlotAttention input = attention_of(in);
  input.first_key = context.first_token, input.needs_slots = false;
  return o_proj_(context.from_rows(slot_attention(input).output.flatten(2)));
}

Tensor NhaMixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                         LayerMemory& memory) {
  const Tokens in = tokens(project(x, {q_proj_, k_proj_, v_proj_, g_proj_}), context.angles);
  const auto mix = [this, &memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const auto own = [&](size_t part) {
      return std::get<RecurrentStates>(memory).parts[part].narrow(0, chunk.slot, 1);
    };
    const Tensor &k = inputs[2], &rotated_k = inputs[3], &v = inputs[4], &decay = inputs[5];
    const int64_t W = config_.window_size, T = k.size(1), d = config_.head_dim;
    // The token at position p is at place p mod W: from the oldest to the newest.
    const Tensor window = own(2).roll(-(chunk.past % W), 1);
    const std::vector<Tensor> before = window.split_with_sizes({d, d, d, config_.num_slots}, -1);
    const auto behind = [](const Tensor& past, const Tensor& y) {
      return torch::cat({past.to(y.scalar_type()), y}, 1);
    };
    SlotAttention input =
        attention_of({inputs[0], inputs[1], behind(before[0], k), behind(before[1], rotated_k),
                      behind(before[2], v), behind(before[3], decay)});
    input.first_key =
        torch::full({1}, std::max<int64_t>(W - chunk.past, 0), k.options().dtype(torch::kInt64));
    input.slot_keys = own(0), input.slot_values = own(1);
    const SlotAttentionOutput found = slot_attention(input);
    own(0).copy_(found.slot_keys), own(1).copy_(found.slot_values);
    const int64_t kept = std::max<int64_t>(W - T, 0), taken = W - kept;
    const auto last = [&](const Tensor& y) {
      return y.narrow(1, T - taken, taken).to(window.scalar_type());
    };
    const Tensor token = torch::cat({last(k), last(rotated_k), last(v), last(decay)}, -1);
    const Tensor after = torch::cat({window.narrow(1, W - kept, kept), token}, 1);
    own(2).copy_(after.roll((chunk.past + T) % W, 1));
    return found.output;
  };
  const Tensor o =
      along_sequence(prefix, {in.q, in.rotated_q, in.k, in.rotated_k, in.v, in.decay}, mix);
  return o_proj_(o.flatten(2));
}

StepOutput NhaMixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  const auto [q, k, v, g] = project_step(x, {q_proj_, k_proj_, v_proj_, g_proj_});
  SlotStepInput input{.q = q,
                      .k = k,
                      .v = v,
                      .g = g,
                      .angles = rows.angles,
                      .normalizer = config_.gate_logit_normalizer,
                      .scale = scale(),
                      .slot_keys = parts[0],
                      .slot_values = parts[1],
                      .window = parts[2],
                      .slots = rows.slots,
                      .positions = rows.positions};
  if (q_norm_) {
    input.q_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
    input.eps = q_norm_->eps();
  }
  return {.x = slot_step(input).flatten(1), .projection = o_proj_};
}

double NhaMixer::scale() const { return 1 / std::sqrt(static_cast<double>(config_.head_dim)); }

NhaMixer::Tokens NhaMixer::tokens(const std::array<Tensor, 4>& projected,
                                  const RopeAngles& angles) {
  const auto& [queries, keys, values, gates] = projected;
  const int64_t G = config_.num_key_value_heads;
  const Tensor q = norm_and_rotate(split_heads(queries, config_.num_heads), q_norm_, false, angles);
  const Tensor k = norm_and_rotate(split_heads(keys, G), k_norm_, false, angles);
  // -log sigmoid(g) = softplus(-g)
  const auto options = gates.options().dtype(sum_type(queries));
  const Tensor decay =
      decay_gate(-gates, torch::zeros({1}, options), torch::zeros({gates.size(-1)}, options)) /
      config_.gate_logit_normalizer;
  return {.q = q,
          .rotated_q = apply_rope(q, angles),
          .k = k,
          .rotated_k = apply_rope(k, angles),
          .v = split_heads(values, G),
          .decay = split_heads(decay, G)};
}

SlotAttention NhaMixer::attention_of(const Tokens& in) const {
  return {.q = in.q,
          .rotated_q = in.rotated_q,
          .k = in.k,
          .rotated_k = in.rotated_k,
          .v = in.v,
          .decay = in.decay,
          .window = config_.window_size,
          .scale = scale()};
}

}  // namespace hypenet
