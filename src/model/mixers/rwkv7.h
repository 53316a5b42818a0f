// RWKV-7 (arXiv 2503.14456) as a token mixer: the form that RADLADS (arXiv 2505.03005) makes of
// attention, and with its keys set the layer of RWKV itself.
#pragma once

#include <array>
#include <optional>

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"
#include "ops/dplr.h"

namespace hypenet {

/// "rwkv7"
extern const MixerKind kRwkv7Mixer;

/// Its keys of config.json, after rwkv7_ those of RADLADS' folders and our own. Sizes that
/// config.json leaves out are those of the attention layers; ranks follow from hidden_size.
struct Rwkv7Config {
  int64_t num_heads = 0, num_key_value_heads = 0, head_size = 0;  // N
  int64_t lora_rank_decay = 0, lora_rank_iclr = 0, lora_rank_gate = 0;
  int64_t lora_rank_value_residual_mix = 0;
  int64_t gate_rank_type = 2;  // of the output gate: 1 a whole matrix, 2 of lora_rank_gate
  bool balance_state = false;  // keys shrink by what decay and rate leave
  bool groupnorm_att = true;   // else outputs are divided by sqrt(N)
  std::optional<double> group_norm_eps = {};  // N 1e-5
  double unit_eps = 1e-24;                    // of kappa's length squared
  bool use_qk_norm = false, use_rope = true;
  bool use_tokenshift = false;  // inputs are mixed with those of the token before
  bool use_bonus = false;       // r_k: what a token itself adds to its output
  bool use_v_first = false;     // values of the first layer are mixed into those of the others
  template <class Visitor>
  void visit(Visitor&& field) {
    field("rwkv7_balance_state", balance_state);
    field("rwkv7_gate_rank_type", gate_rank_type);
    field("rwkv7_group_norm_eps", group_norm_eps);
    field("rwkv7_groupnorm_att", groupnorm_att);
    field("rwkv7_head_size", head_size);
    field("rwkv7_lora_rank_decay", lora_rank_decay);
    field("rwkv7_lora_rank_gate", lora_rank_gate);
    field("rwkv7_lora_rank_iclr", lora_rank_iclr);
    field("rwkv7_lora_rank_value_residual_mix", lora_rank_value_residual_mix);
    field("rwkv7_num_heads", num_heads);
    field("rwkv7_num_key_value_heads", num_key_value_heads);
    field("rwkv7_unit_eps", unit_eps);
    field("rwkv7_use_bonus", use_bonus);
    field("rwkv7_use_qk_norm", use_qk_norm);
    field("rwkv7_use_rope", use_rope);
    field("rwkv7_use_tokenshift", use_tokenshift);
    field("rwkv7_use_v_first", use_v_first);
  }

  /// Sets the ranks that RADLADS has for this hidden size.
  void use_ranks_of(int64_t hidden_size);
  bool has_gate_matrix() const { return gate_rank_type == 1; }
};

/// How w0, the decay before its sigmoid, starts: [H N] float32 from long to short memory; depth 0
/// is the first layer, 1 the last.
Tensor new_rwkv7_decays(int64_t channels, double depth);

/// The norm of each head, weight and bias [H N].
class HeadNormImpl : public torch::nn::Module {
 public:
  HeadNormImpl(int64_t heads, int64_t size, double eps);

  /// x [.., H, N] -> [.., H, N]
  Tensor forward(const Tensor& x) const;

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  double eps() const { return eps_; }

 private:
  int64_t heads_;
  double eps_;
  Tensor weight_, bias_;
};
TORCH_MODULE(HeadNorm);

/// A parameter [in, out] that tokens are multiplied by from the left.
class LeftMatrix {
 public:
  LeftMatrix() = default;
  LeftMatrix(Tensor parameter) : parameter_(std::move(parameter)) {}

  const Tensor& parameter() const { return parameter_; }

  /// As a linear layer of this type, for steps: a copy, made anew when the parameter has changed.
  LinearWeights as_layer(torch::ScalarType type);

  /// As a linear layer of the parameter's type: a view, which gradients go through.
  LinearWeights as_turned() const;

 private:
  Tensor parameter_, turned_;  // [in, out], [out, in]
  int64_t version_ = -1;
  const void* from_ = nullptr;
};

/// With r, k, v = q_proj x, k_proj x, v_proj x: decay = e^-0.5 sigmoid(w0 + tanh(x w1) w2), rate a
/// = sigmoid(a0 + (x a1) a2), kappa = unit(k .* k_k), k = k .* (1 + (a - 1) .* k_a); o by
/// ops/dplr.h with a = -kappa, b = kappa .* a; y = o_proj(norm of each head(o) .* g), g =
/// sigmoid(x g1) g2. With use_v_first v = v + (first - v) .* sigmoid(v0 + (x v1) v2), first being v
/// of the model's layer 0.
class Rwkv7Mixer : public TokenMixer {
 public:
  Rwkv7Mixer(const ModelConfig& config, int64_t layer);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;
  void draw_own_parameters() override;

 private:
  /// What tokens bring before anything looks along the sequence, [.., W] for tokens [.., D].
  struct Brought {
    Tensor r, k, v;          // as projected; v of all heads where the first layer's is mixed in
    Tensor z_decay, z_rate;  // [.., H N], before where they start and their sigmoids
    Tensor gate;             // [.., H N] that multiplies the output, or goes through a sigmoid
  };
  /// r, k, v, what low-rank decays and rates are in between, and the gate (or that of it).
  std::array<Tensor, 6> project(const Tensor& x, const Tensor& previous);
  Brought bring(const Tensor& x, const Tensor& previous, LayerShare& share);

  /// v, the layer's own being made of x, which reads or leaves the first layer's.
  Tensor values(const Tensor& own, const Tensor& x, LayerShare& share);
  DplrRecurrence recurrence_of(const Brought& in, const RopeAngles& angles, const Tensor& valid);

  /// [.., H N] of what the recurrence gave, [.., H, N].
  Tensor normed(const Tensor& o, const DplrRecurrence& tokens) const;
  Tensor gated(const Tensor& y, const Tensor& gate) const;

  /// Whether outputs go through norm and gate alone; gated(normed(o)) of o [.., H N].
  bool has_plain_norm() const { return ln_x_ && !r_k_.defined(); }
  Tensor norm_gated(const Tensor& o, const Tensor& gate) const;

  Rwkv7Config config_;
  bool is_first_;  // of the model's layers
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  Linear gate_{nullptr};                       // of gate_rank_type 1
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
  HeadNorm ln_x_{nullptr};                     // empty without groupnorm_att
  Tensor w0_, a0_;                             // [1, 1, H N]
  LeftMatrix w1_, w2_, a1_, a2_, g1_, g2_;     // [D, rank], [rank, H N]
  Tensor k_k_, k_a_;                           // [1, 1, H N]; undefined with balance_state
  Tensor v0_;                                  // undefined where no other values are mixed in
  LeftMatrix v1_, v2_;                         // likewise
  Tensor r_k_;                                 // [H, N], or undefined
  struct Shares {                              // of the token before, [1, 1, D] or undefined
    Tensor r, w, k, v, a, g;
  } x_;
};

}  // namespace hypenet
