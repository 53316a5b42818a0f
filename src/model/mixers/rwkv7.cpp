// Low-rank parts are published as plain matrices that tokens are multiplied by from the left.
#include "model/mixers/rwkv7.h"

#include <cmath>

#include "model/mixers/token_shift.h"
#include "ops/form.h"
#include "ops/gated_heads.h"
#include "ops/gating.h"
#include "ops/linear_step.h"
#include "ops/norm.h"
#include "ops/rwkv7_gates.h"
#include "ops/rwkv7_step.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr size_t kShiftPart = 1;  // of what a layer remembers

void read_config(const Json& keys, const std::string& place, ModelConfig& config) {
  auto& rwkv = config.mixers.of<Rwkv7Config>();
  rwkv.num_heads = config.num_attention_heads;
  rwkv.num_key_value_heads = config.num_key_value_heads;
  rwkv.head_size = config.head_dim;
  rwkv.use_ranks_of(config.hidden_size);
  read_fields(keys, place, rwkv);
}

void check_config(const ModelConfig& config, const std::string& place) {
  const auto& rwkv = config.mixers.of<Rwkv7Config>();
  check_divides(place, "rwkv7_num_heads", rwkv.num_heads, "rwkv7_num_key_value_heads",
                rwkv.num_key_value_heads);
  check_size(place, "rwkv7_head_size", rwkv.head_size);
  check_size(place, "rwkv7_lora_rank_decay", rwkv.lora_rank_decay);
  check_size(place, "rwkv7_lora_rank_iclr", rwkv.lora_rank_iclr);
  check_size(place, "rwkv7_lora_rank_gate", rwkv.lora_rank_gate);
  HYPENET_CHECK(rwkv.gate_rank_type == 1 || rwkv.gate_rank_type == 2, place,
                ": rwkv7_gate_rank_type: expected 1 or 2, found ", rwkv.gate_rank_type);
  HYPENET_CHECK(rwkv.group_norm_eps.value_or(1) > 0, place,
                ": rwkv7_group_norm_eps: expected null or more than 0, found ",
                rwkv.group_norm_eps.value_or(1));
  HYPENET_CHECK(rwkv.unit_eps > 0, place, ": rwkv7_unit_eps: expected more than 0, found ",
                rwkv.unit_eps);
  check_size(place, "rwkv7_lora_rank_value_residual_mix", rwkv.lora_rank_value_residual_mix);
  const MixerKind& first = *config.mixer_types.front();
  HYPENET_CHECK(
      !rwkv.use_v_first || &first == &kRwkv7Mixer, place,
      ": rwkv7_use_v_first: expected rwkv7 in layer 0, whose values others mix in, found ",
      first.name);
  if (rwkv.use_rope) check_rotated(config, place, "rwkv7_head_size", rwkv.head_size);
}

std::shared_ptr<TokenMixer> make_rwkv7(const ModelConfig& config, int64_t layer) {
  return std::make_shared<Rwkv7Mixer>(config, layer);
}

bool crosses_layers(const ModelConfig& config) {
  return config.mixers.of<Rwkv7Config>().use_v_first;
}

std::vector<StatePart> parts_of(const ModelConfig& config) {
  const auto& rwkv = config.mixers.of<Rwkv7Config>();
  std::vector<StatePart> parts = {{"state", {rwkv.num_heads, rwkv.head_size, rwkv.head_size}}};
  if (rwkv.use_tokenshift) parts.push_back({"shift", {config.hidden_size, 1}});
  return parts;
}

/// Rows of other sizes are products of tensor code, whose bits depend on the number of rows.
bool has_step_kernels(const ModelConfig& config) {
  const auto& rwkv = config.mixers.of<Rwkv7Config>();
  const auto is_whole = [](int64_t size) { return size % 8 == 0; };
  return is_step_head(rwkv.head_size) && is_whole(config.hidden_size) &&
         is_whole(rwkv.lora_rank_decay) && is_whole(rwkv.lora_rank_iclr) &&
         (rwkv.has_gate_matrix() || is_whole(rwkv.lora_rank_gate)) &&
         (!rwkv.use_v_first || is_whole(rwkv.lora_rank_value_residual_mix));
}

int64_t rope_size(const ModelConfig& config) {
  const auto& rwkv = config.mixers.of<Rwkv7Config>();
  return rwkv.use_rope ? rwkv.head_size : 0;
}

/// Of a chunk of C: four products of scores, what they weigh, and the solution; of the state what
/// is read and written by three factors.
MixerWork work_of(const ModelConfig& config, double context) {
  constexpr double kChunk = 16;
  const auto& rwkv = config.mixers.of<Rwkv7Config>();
  const int64_t H = rwkv.num_heads, N = rwkv.head_size, D = config.hidden_size;
  MixerWork work = projection_work(config, H, rwkv.num_key_value_heads, N, rwkv.has_gate_matrix());
  const int64_t ranks = rwkv.lora_rank_decay + rwkv.lora_rank_iclr +
                        (rwkv.has_gate_matrix() ? 0 : rwkv.lora_rank_gate) +
                        (rwkv.use_v_first ? rwkv.lora_rank_value_residual_mix : 0);
  work.input_weights += static_cast<double>(ranks * (D + H * N));
  const auto d = static_cast<double>(N), C = std::min<double>(kChunk, context);
  work.forward = static_cast<double>(H) * (16 * C * d + 8 * d * d);
  work.backward = 2.2 * work.forward;
  return work;
}

/// x [.., in] times [in, out]; rows of a step by its kernels, which give each row the same bits.
Tensor times(const Tensor& x, LeftMatrix& matrix) {
  if (x.dim() > 2 && x.is_cuda()) return apply_linear(x, matrix.as_turned());
  if (x.dim() > 2) return torch::matmul(x, matrix.parameter().to(x.scalar_type()));
  const LinearWeights weights = matrix.as_layer(x.scalar_type());
  return linear_step({.x = x, .layers = {&weights, 1}}).front();
}

Tensor times(const Tensor& x, const Linear& layer) {
  return x.dim() > 2 ? layer->forward(x) : apply_step(x, layer);
}

/// x, or what a layer with token shift makes of it and the token before.
Tensor mixed(const Tensor& x, const Tensor& previous, const Tensor& share) {
  return previous.defined() ? x + (previous - x) * share.to(x.scalar_type()).flatten() : x;
}

/// most sigmoid(x), in the type of sums.
Tensor sigmoid_up_to(double most, const Tensor& x) {
  const Tensor wide = x.to(sum_type(x));
  return sigmoid_gate(torch::full_like(wide, most), wide);
}

/// y, and where low-rank parts begin, in the type of sums.
Tensor with_start(const Tensor& y, const Tensor& start) {
  return y.to(sum_type(y)) + start.to(sum_type(y)).flatten();
}

/// libtorch's tanh has other last bits in the tail of a tensor than in vectors, on a CPU.
Tensor tanh_of(const Tensor& x) {
  const Tensor y = x.is_cuda() ? torch::tanh(x.to(sum_type(x))) : sigmoid_up_to(2, 2 * x) - 1;
  return y.to(x.scalar_type());
}

Tensor sigmoid_of(const Tensor& x) {
  const Tensor y = x.is_cuda() ? torch::sigmoid(x.to(sum_type(x))) : sigmoid_up_to(1, x);
  return y.to(x.scalar_type());
}

}  // namespace

const MixerKind kRwkv7Mixer = {.name = "rwkv7",
                               .title = "RWKV-7",
                               .is_recurrent = true,
                               .make = make_rwkv7,
                               .crosses_layers = crosses_layers,
                               .parts = parts_of,
                               .has_step_kernels = has_step_kernels,
                               .rope_size = rope_size,
                               .work = work_of,
                               .write = write_mixer_config<Rwkv7Config>,
                               .read = read_config,
                               .check = check_config};

void Rwkv7Config::use_ranks_of(int64_t hidden_size) {
  const auto D = static_cast<double>(hidden_size);
  const auto rank = [](double wanted) {
    return 32 * std::max<int64_t>(1, std::llround(wanted / 32));
  };
  lora_rank_decay = lora_rank_iclr = rank(1.8 * std::sqrt(D));
  lora_rank_gate = rank(0.6 * std::pow(D, 0.8));
  lora_rank_value_residual_mix = rank(1.3 * std::sqrt(D));
}

Tensor new_rwkv7_decays(int64_t channels, double depth) {
  const Tensor place = torch::linspace(0, 1, channels);
  return 0.5 - 7 + 5 * place.pow(0.85 + std::sqrt(depth));
}

HeadNormImpl::HeadNormImpl(int64_t heads, int64_t size, double eps) : heads_(heads), eps_(eps) {
  weight_ = register_parameter("weight", torch::ones({heads * size}));
  bias_ = register_parameter("bias", torch::zeros({heads * size}));
}

Tensor HeadNormImpl::forward(const Tensor& x) const {
  const auto own = [&](const Tensor& y) { return split_heads(y.to(x.scalar_type()), heads_); };
  return torch::layer_norm(x, {x.size(-1)}, {}, {}, eps_) * own(weight_) + own(bias_);
}

LinearWeights LeftMatrix::as_layer(torch::ScalarType type) {
  const auto version = static_cast<int64_t>(parameter_._version());
  const void* const from = parameter_.const_data_ptr();
  if (!turned_.defined() || turned_.scalar_type() != type || version != version_ || from != from_) {
    turned_ = parameter_.detach().to(type).t().contiguous();
    version_ = version, from_ = from;
  }
  return {.weight = Weight(turned_)};
}

LinearWeights LeftMatrix::as_turned() const { return {.weight = Weight(parameter_.t())}; }

Rwkv7Mixer::Rwkv7Mixer(const ModelConfig& config, int64_t layer)
    : config_(config.mixers.of<Rwkv7Config>()), is_first_(layer == 0) {
  const int64_t D = config.hidden_size, H = config_.num_heads, N = config_.head_size;
  const int64_t wide = H * N, narrow = config_.num_key_value_heads * N;
  const bool bias = config.attention_bias;
  q_proj_ = register_module("q_proj", Linear(D, wide, bias));
  k_proj_ = register_module("k_proj", Linear(D, narrow, bias));
  v_proj_ = register_module("v_proj", Linear(D, narrow, bias));
  o_proj_ = register_module("o_proj", Linear(wide, D, config.attention_output_bias));
  if (config_.use_qk_norm) {
    q_norm_ = register_module("q_norm", RmsNorm(N, config.rms_norm_eps));
    k_norm_ = register_module("k_norm", RmsNorm(N, config.rms_norm_eps));
  }
  const auto own = [this](const char* name, torch::IntArrayRef shape) {
    return register_parameter(name, torch::zeros(shape));
  };
  const auto low_rank = [&](const char* first, const char* second, int64_t rank) {
    return std::pair{own(first, {D, rank}), own(second, {rank, wide})};
  };
  w0_ = own("w0", {1, 1, wide}), a0_ = own("a0", {1, 1, wide});
  std::tie(w1_, w2_) = low_rank("w1", "w2", config_.lora_rank_decay);
  std::tie(a1_, a2_) = low_rank("a1", "a2", config_.lora_rank_iclr);
  if (config_.has_gate_matrix()) {
    gate_ = register_module("gate", Linear(D, wide, false));
  } else {
    std::tie(g1_, g2_) = low_rank("g1", "g2", config_.lora_rank_gate);
  }
  if (!config_.balance_state) k_k_ = own("k_k", {1, 1, wide}), k_a_ = own("k_a", {1, 1, wide});
  if (config_.use_v_first && !is_first_) {
    v0_ = own("v0", {1, 1, wide});
    std::tie(v1_, v2_) = low_rank("v1", "v2", config_.lora_rank_value_residual_mix);
  }
  if (config_.use_bonus) r_k_ = own("r_k", {H, N});
  if (config_.groupnorm_att) {
    const double eps = config_.group_norm_eps.value_or(1e-5 * static_cast<double>(N));
    ln_x_ = register_module("ln_x", HeadNorm(H, N, eps));
  }
  if (!config_.use_tokenshift) return;
  const std::vector<int64_t> share = {1, 1, D};
  x_ = {own("x_r", share), own("x_w", share), own("x_k", share),
        own("x_v", share), own("x_a", share), own("x_g", share)};
}

void Rwkv7Mixer::draw_own_parameters() {
  w0_.copy_(new_rwkv7_decays(w0_.numel(), 0.5).view_as(w0_));
  a0_.zero_();
  if (k_k_.defined()) k_k_.fill_(0.85), k_a_.fill_(1);
  if (r_k_.defined()) r_k_.fill_(-0.04);
  if (v0_.defined()) v0_.fill_(1);
  for (const Tensor& share : {x_.r, x_.w, x_.k, x_.v, x_.a, x_.g}) {
    if (share.defined()) share.fill_(0.5);
  }
}

Tensor Rwkv7Mixer::forward(const Tensor& x, const Context& context) {
  const Tensor previous = config_.use_tokenshift ? token_shift(x, context) : Tensor();
  Brought in = bring(x, previous, *context.share);
  for (Tensor* y : {&in.r, &in.k, &in.v, &in.z_decay, &in.z_rate}) *y = context.to_rows(*y);
  const DplrRecurrence tokens = recurrence_of(in, context.angles, context.valid);
  const Tensor o = dplr_recurrence(tokens).output;
  if (!has_plain_norm()) return o_proj_(gated(context.from_rows(normed(o, tokens)), in.gate));
  return o_proj_(norm_gated(context.from_rows(o.flatten(2)), in.gate));
}

Tensor Rwkv7Mixer::prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                           LayerMemory& memory) {
  Tensor previous;
  if (config_.use_tokenshift) previous = token_shift(x, prefix, memory, kShiftPart);
  const Brought in = bring(x, previous, *context.share);
  const DplrRecurrence tokens = recurrence_of(in, context.angles, {});
  const auto mix = [&memory](const std::vector<Tensor>& inputs, const Prefix& chunk) {
    const Tensor state = std::get<RecurrentStates>(memory).parts[0].narrow(0, chunk.slot, 1);
    const RecurrenceOutput found = dplr_recurrence({.r = inputs[1],
                                                    .k = inputs[2],
                                                    .a = inputs[3],
                                                    .b = inputs[4],
                                                    .v = inputs[0],
                                                    .decay = inputs[5],
                                                    .state = state});
    state.copy_(found.state);
    return found.output;
  };
  const Tensor o =
      along_sequence(prefix, {tokens.v, tokens.r, tokens.k, tokens.a, tokens.b, tokens.decay}, mix);
  return o_proj_(has_plain_norm() ? norm_gated(o.flatten(2), in.gate)
                                  : gated(normed(o, tokens), in.gate));
}

StepOutput Rwkv7Mixer::step(const Normed& x, const TokenRows& rows, LayerMemory& memory) {
  const std::vector<Tensor>& parts = std::get<RecurrentStates>(memory).parts;
  const Tensor h = x.value();
  Tensor previous;
  if (config_.use_tokenshift) previous = token_shift(h, rows, memory, kShiftPart);
  const Brought in = bring(h, previous, *rows.share);
  Rwkv7StepInput input{.r = in.r,
                       .k = in.k,
                       .v = in.v,
                       .z_decay = in.z_decay,
                       .decay_start = w0_,
                       .z_rate = in.z_rate,
                       .rate_start = a0_,
                       .kappa_scale = k_k_,
                       .key_rate = k_a_,
                       .bonus = r_k_,
                       .gate = in.gate,
                       .is_sigmoid_gate = config_.has_gate_matrix(),
                       .unit_eps = config_.unit_eps,
                       .state = parts[0],
                       .slots = rows.slots};
  if (q_norm_) {
    input.r_weight = q_norm_->weight, input.k_weight = k_norm_->weight;
    input.eps = q_norm_->eps();
  }
  if (config_.use_rope) input.angles = rows.angles;
  if (ln_x_) {
    input.norm_weight = ln_x_->weight(), input.norm_bias = ln_x_->bias();
    input.norm_eps = ln_x_->eps();
  }
  return {.x = rwkv7_step(input), .projection = o_proj_};
}

std::array<Tensor, 6> Rwkv7Mixer::project(const Tensor& x, const Tensor& previous) {
  if (x.dim() == 2 && !previous.defined()) {  // a step's rows: in one launch
    const torch::ScalarType type = x.scalar_type();
    const LinearWeights layers[] = {
        q_proj_->weights,   k_proj_->weights,   v_proj_->weights,
        w1_.as_layer(type), a1_.as_layer(type), gate_ ? gate_->weights : g1_.as_layer(type)};
    const std::vector<Tensor> found = linear_step({.x = x, .layers = layers});
    return {found[0], found[1], found[2], found[3], found[4], found[5]};
  }
  if (x.is_cuda() && torch::GradMode::is_enabled() && !previous.defined()) {
    const LinearWeights layers[] = {q_proj_->weights, k_proj_->weights,
                                    v_proj_->weights, w1_.as_turned(),
                                    a1_.as_turned(),  gate_ ? gate_->weights : g1_.as_turned()};
    const std::vector<Tensor> found = apply_linears(x, layers);
    return {found[0], found[1], found[2], found[3], found[4], found[5]};
  }
  const auto own = [&](const Tensor& share) { return mixed(x, previous, share); };
  const Tensor of_gate = own(x_.g);
  return {times(own(x_.r), q_proj_), times(own(x_.k), k_proj_),
          times(own(x_.v), v_proj_), times(own(x_.w), w1_),
          times(own(x_.a), a1_),     gate_ ? times(of_gate, gate_) : times(of_gate, g1_)};
}

Rwkv7Mixer::Brought Rwkv7Mixer::bring(const Tensor& x, const Tensor& previous, LayerShare& share) {
  auto [r, k, v, decay, rate, gate] = project(x, previous);
  if (!gate_) gate = times(sigmoid_of(gate), g2_);
  return {.r = r,
          .k = k,
          .v = values(v, mixed(x, previous, x_.v), share),
          .z_decay = times(tanh_of(decay), w2_),
          .z_rate = times(rate, a2_),
          .gate = gate};
}

Tensor Rwkv7Mixer::values(const Tensor& own, const Tensor& x, LayerShare& share) {
  if (!config_.use_v_first) return own;
  const int64_t G = config_.num_key_value_heads;
  const Tensor v = split_heads(own, G).repeat_interleave(config_.num_heads / G, -2).flatten(-2);
  if (is_first_) {
    share.first_values = v;
    return v;
  }
  const Tensor part = sigmoid_up_to(1, with_start(times(times(x, v1_), v2_), v0_));
  return v + (share.first_values - v) * part.to(v.scalar_type());
}

DplrRecurrence Rwkv7Mixer::recurrence_of(const Brought& in, const RopeAngles& angles,
                                         const Tensor& valid) {
  const int64_t H = config_.num_heads, G = config_.num_key_value_heads;
  const auto heads = [&](const Tensor& x, int64_t count, const RmsNorm& norm) {
    return norm_and_rotate(split_heads(x, count), norm, config_.use_rope, angles);
  };
  Rwkv7Gates gates = rwkv7_gates({.k = heads(in.k, G, k_norm_),
                                  .z_decay = in.z_decay,
                                  .z_rate = in.z_rate,
                                  .w0 = w0_,
                                  .a0 = a0_,
                                  .k_k = k_k_,
                                  .k_a = k_a_,
                                  .eps = config_.unit_eps});
  Tensor v = repeat_heads(split_heads(in.v, in.v.size(-1) / config_.head_size), H);
  if (valid.defined()) {
    const Tensor token = valid.unsqueeze(-1);  // [B, T, 1, 1]
    for (Tensor* x : {&gates.key, &gates.a, &gates.b, &v}) *x = *x * token;
  }
  return {.r = heads(in.r, H, q_norm_),
          .k = gates.key,
          .a = gates.a,
          .b = gates.b,
          .v = v,
          .decay = gates.decay};
}

Tensor Rwkv7Mixer::normed(const Tensor& o, const DplrRecurrence& tokens) const {
  const auto N = static_cast<double>(config_.head_size);
  Tensor y = ln_x_ ? ln_x_->forward(o) : o * (1 / std::sqrt(N));
  if (r_k_.defined()) {
    const torch::ScalarType type = sum_type(tokens.k);
    const Tensor bonus = (tokens.r.to(type) * tokens.k.to(type) * r_k_.to(type)).sum(-1, true);
    y = y + (bonus * tokens.v).to(y.scalar_type());
  }
  return y.flatten(-2);
}

Tensor Rwkv7Mixer::norm_gated(const Tensor& o, const Tensor& gate) const {
  return norm_gated_heads({.x = split_heads(o, config_.num_heads),
                           .gate = gate,
                           .weight = ln_x_->weight(),
                           .bias = ln_x_->bias(),
                           .eps = ln_x_->eps(),
                           .is_sigmoid = config_.has_gate_matrix()});
}

Tensor Rwkv7Mixer::gated(const Tensor& y, const Tensor& gate) const {
  return gate_ ? sigmoid_gate(y, gate) : y * gate;
}

}  // namespace hypenet
