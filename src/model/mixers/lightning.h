// Lightning attention as a token mixer: q/k norm, RoPE, the op, output norm and output gate
// (docs/mixers.md).
#pragma once

#include <string>

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"
#include "ops/recurrence.h"

namespace hypenet {

/// "lightning-attn"
extern const MixerKind kLightningMixer;

/// Its keys of config.json. Heads that config.json leaves out are those of the attention layers.
struct LightningConfig {
  int64_t nh = 0, nkv = 0, head_dim = 0;  // heads, of them with keys and values of their own; d
  std::string scale = "1/sqrt(d)";        // or "1/d", else 1
  bool use_rope = true, use_qk_norm = true, use_output_norm = true, use_output_gate = true;
  bool use_short_conv = false;  // true is refused
  template <class Visitor>
  void visit(Visitor&& field) {
    bool has_all_heads = nkv == nh;  // follows from the two
    field("expand_kv_proj", has_all_heads);
    field("lightning_head_dim", head_dim);
    field("lightning_nh", nh);
    field("lightning_nkv", nkv);
    field("lightning_scale", scale);
    field("lightning_use_output_gate", use_output_gate);
    field("lightning_use_output_norm", use_output_norm);
    field("lightning_use_qk_norm", use_qk_norm);
    field("lightning_use_rope", use_rope);
    field("lightning_use_short_conv", use_short_conv);
  }

  /// The factor that `scale` names.
  double scale_value() const;
};

/// y = o_proj(rms_norm(concat_heads(o); o_norm) * sigmoid(z_proj x)), o from lightning attention.
class LightningMixer : public TokenMixer {
 public:
  explicit LightningMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;

 private:
  /// What the recurrence reads of x [B, T, D].
  struct Heads {
    Tensor q, k, v;  // [B, T, H, d], normed and rotated; zero keys and values at padding
    Tensor gate;     // [B, T, H d], or undefined; of the nodes when x are nodes
  };
  Heads heads(const Tensor& x, const Context& context);
  Recurrence recurrence_of(const Tensor& q, const Tensor& k, const Tensor& v);
  Tensor output(const Tensor& mixed, const Tensor& gate);  // [B, T, H d]
  const Tensor& decay_on(torch::Device device);

  LightningConfig config_;
  double scale_, eps_;
  Tensor decay_;  // [H] float32, on the device of the last input
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
  RmsNorm o_norm_{nullptr};                    // empty without output norm
  Linear z_proj_{nullptr};                     // empty without output gate
};

}  // namespace hypenet
