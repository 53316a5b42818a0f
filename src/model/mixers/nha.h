// Native Hybrid Attention (arXiv 2510.07019) as a token mixer: softmax attention to a window of
// tokens and to slots that all earlier tokens were written into (ops/slot_attention.h).
#pragma once

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"
#include "ops/slot_attention.h"

namespace hypenet {

/// "nha"
extern const MixerKind kNhaMixer;

/// Its keys of config.json. Sizes that config.json leaves out are those of the attention layers.
struct NhaConfig {
  int64_t num_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t num_slots = 64, window_size = 64;  // M and W
  double gate_logit_normalizer = 8;          // divides a token's log decays
  bool use_qk_norm = true;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("nha_gate_logit_normalizer", gate_logit_normalizer);
    field("nha_head_dim", head_dim);
    field("nha_num_heads", num_heads);
    field("nha_num_key_value_heads", num_key_value_heads);
    field("nha_num_slots", num_slots);
    field("nha_use_qk_norm", use_qk_norm);
    field("nha_window_size", window_size);
  }
};

/// y = o_proj(concat_heads(o)), o by slot attention with decays softplus(-g_proj x) / 8: queries
/// and keys, normed, are rotated for the window and not for the slots.
class NhaMixer : public TokenMixer {
 public:
  explicit NhaMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;

 private:
  struct Tokens {
    Tensor q, rotated_q;     // [B, T, H, d]
    Tensor k, rotated_k, v;  // [B, T, G, d]
    Tensor decay;            // [B, T, G, M]
  };
  Tokens tokens(const std::array<Tensor, 4>& projected, const RopeAngles& angles);

  /// Without what came before.
  SlotAttention attention_of(const Tokens& in) const;
  double scale() const;

  NhaConfig config_;
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, g_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
};

}  // namespace hypenet
