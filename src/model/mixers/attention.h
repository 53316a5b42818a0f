// Softmax attention as a token mixer: a teacher's (RoPE, no gate) or a HypeNet's (no RoPE, gate,
// scaled queries).
#pragma once

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"

namespace hypenet {

/// "attn"
extern const MixerKind kAttentionMixer;

/// Softmax attention as the config says: a teacher's (RoPE, no output gate), or a HypeNet's (scaled
/// queries in place of RoPE, and an output gate).
class AttentionMixer : public TokenMixer {
 public:
  explicit AttentionMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;

  /// What attention reads of x [B, T, D].
  struct Heads {
    Tensor q, k, v;  // [B, T, H or G, d], normed, rotated and scaled
    Tensor gate;     // [B, T, H d], or undefined; of the nodes when x are nodes
  };
  Heads heads(const Tensor& x, const Context& context);

 private:
  Tensor output(const Tensor& joined, const Tensor& gate);  // [B, T, H d]

  int64_t query_heads_, key_heads_;
  bool use_rope_;
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
  Linear o_gate_{nullptr};                     // empty without output gate
};

}  // namespace hypenet
