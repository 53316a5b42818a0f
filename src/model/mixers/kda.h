// Kimi Delta Attention (arXiv 2510.26692) as a token mixer: the delta rule with a decay a channel
// of the keys.
#pragma once

#include <optional>

#include "model/mixers/delta_rule.h"

namespace hypenet {

/// "kda"
extern const MixerKind kKdaMixer;

/// Its keys of config.json: those of the authors of HypeNet, and under kda_ those that
/// flash-linear-attention's kda has beside them. Sizes that config.json leaves out are those of the
/// attention layers.
struct KdaConfig {
  int64_t head_dim = 0, num_heads = 0;
  bool use_conv = false;  // and SiLU after it
  int64_t conv_size = 4;
  bool use_qk_norm = true, use_rope = false;
  bool allow_neg_eigval = false;  // beta up to 2, else 1
  std::optional<double> lower_bound =
      {};                      // of log decays, -5 <= it < 0: the bounded form of the gate
  bool use_gate_bias = false;  // of g_b_proj
  template <class Visitor>
  void visit(Visitor&& field) {
    field("kda_allow_neg_eigval", allow_neg_eigval);
    field("kda_conv_size", conv_size);
    field("kda_head_dim", head_dim);
    field("kda_lower_bound", lower_bound);
    field("kda_num_heads", num_heads);
    field("kda_use_conv", use_conv);
    field("kda_use_gate_bias", use_gate_bias);
    field("kda_use_qk_norm", use_qk_norm);
    field("kda_use_rope", use_rope);
  }

  DeltaForm form() const;
};

/// A = exp(A_log) starts above this.
constexpr double kLeastKdaRate = 1;

/// y = o_proj(concat_heads(rms_norm(o; o_norm) .* sigmoid(g_b_proj(g_a_proj x)))), o by the delta
/// rule with beta sigmoid(b_proj x) and, with z = f_b_proj(f_a_proj x) + dt_bias, decay exp(A_log)
/// softplus(z), or -lower_bound sigmoid(exp(A_log) z).
class KdaMixer : public DeltaMixer {
 public:
  explicit KdaMixer(const ModelConfig& config);
  void draw_own_parameters() override;

 private:
  Brought project_tokens(const Tensor& x) override;
  BroughtRows project_rows(const Normed& x) override;
  Tensor gated(const Tensor& o, const Tensor& gate) override;

  std::optional<double> lower_bound_;
  double most_beta_;
  Linear b_proj_{nullptr};
  Linear f_a_proj_{nullptr}, f_b_proj_{nullptr};  // of the decay
  Linear g_a_proj_{nullptr}, g_b_proj_{nullptr};  // of the output gate
  Tensor A_log_;                                  // [1, 1, H, 1]
  Tensor dt_bias_;                                // [H d]
};

}  // namespace hypenet
