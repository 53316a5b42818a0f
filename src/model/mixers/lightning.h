// Lightning attention as a token mixer: q/k norm, RoPE, the op, output norm and output gate
// (docs/halo.md).
#pragma once

#include "model/linear.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"

namespace hypenet {

/// y = o_proj(rms_norm(concat_heads(o); o_norm) * sigmoid(z_proj x)), o from lightning attention.
class LightningMixer : public TokenMixer {
 public:
  explicit LightningMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Step& step) override;
  Tensor prefill(const Tensor& x, const Step& step, const Prefix& prefix,
                 LayerMemory& memory) override;
  void step(const Tensor& h, const RmsNorm& norm, const TokenRows& rows,
            LayerMemory& memory) override;

 private:
  /// forward, going on from `state` [B, H, d, d] and updating it where it is defined.
  Tensor mix(const Tensor& x, const Step& step, const Tensor& state);
  const Tensor& decay_on(torch::Device device);

  int64_t query_heads_, key_heads_;
  bool use_rope_;
  double scale_, eps_;
  Tensor decay_;  // [H] float32, on the device of the last input
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
  RmsNorm o_norm_{nullptr};                    // empty without output norm
  Linear z_proj_{nullptr};                     // empty without output gate
};

}  // namespace hypenet
