// Gated DeltaNet (arXiv 2412.06464) as a token mixer: the delta rule with a decay a head.
#pragma once

#include <optional>
#include <string>

#include "model/mixers/delta_rule.h"

namespace hypenet {

/// "gdn"
extern const MixerKind kGdnMixer;

/// Its keys of config.json: those of the authors of HypeNet, and under gdn_ those that
/// flash-linear-attention's gated_deltanet has beside them. Heads that config.json leaves out are
/// those of the attention layers.
struct GdnConfig {
  int64_t nh = 0, nkv = 0, head_dim = 0;    // heads, of them with keys and values of their own; d
  std::optional<int64_t> num_v_heads = {};  // more heads of values than of queries
  double expand_v = 1;                      // dv / d
  bool use_gate = false, use_qk_norm = false, use_rope = false;
  bool use_short_conv = false;
  int64_t conv_size = 4;
  std::optional<std::string> activation = {};  // "silu": of q, k and v
  bool allow_neg_eigval = true;                // beta up to 2, else 1
  template <class Visitor>
  void visit(Visitor&& field) {
    field("gdn_activation", activation);
    field("gdn_allow_neg_eigval", allow_neg_eigval);
    field("gdn_conv_size", conv_size);
    field("gdn_expand_v", expand_v);
    field("gdn_head_dim", head_dim);
    field("gdn_nh", nh);
    field("gdn_nkv", nkv);
    field("gdn_num_v_heads", num_v_heads);
    field("gdn_use_gate", use_gate);
    field("gdn_use_qk_norm", use_qk_norm);
    field("gdn_use_rope", use_rope);
    field("gdn_use_short_conv", use_short_conv);
  }

  DeltaForm form() const;
};

/// A = exp(A_log) starts above this: a decay of 0 would have no gradient.
constexpr double kLeastGdnRate = 1e-4;

/// y = o_proj(concat_heads(rms_norm(o; o_norm) .* silu(g_proj x))), o by the delta rule with decay
/// exp(A_log) softplus(a_proj x + dt_bias) and beta 2 sigmoid(b_proj x).
class GdnMixer : public DeltaMixer {
 public:
  explicit GdnMixer(const ModelConfig& config);
  void draw_own_parameters() override;

 private:
  Brought project_tokens(const Tensor& x) override;
  BroughtRows project_rows(const Normed& x) override;
  Tensor gated(const Tensor& o, const Tensor& gate) override;

  double most_beta_;
  Linear a_proj_{nullptr}, b_proj_{nullptr};
  Linear g_proj_{nullptr};  // empty without gate
  Tensor A_log_, dt_bias_;  // [H]
};

}  // namespace hypenet
