// JetBlock (Jet-Nemotron, arXiv 2508.15884) as a token mixer: the delta rule with a decay a head,
// and values behind a convolution whose taps each token brings along. Published models are loaded;
// nothing is converted to it.
#pragma once

#include "model/mixers/delta_rule.h"

namespace hypenet {

/// "jet"
extern const MixerKind kJetMixer;

/// Its keys of config.json, those of efficient_attention_config.jet behind jet_.
struct JetConfig {
  int64_t num_heads = 0, head_dim = 0;  // of queries, keys and values; dk
  double expand_v = 2;                  // dv / dk
  int64_t conv_size = 4;
  int64_t dconv_generator_reduction = 8;  // channels of values, of the taps' generator
  double norm_eps = 1e-5;                 // of the output norm
  template <class Visitor>
  void visit(Visitor&& field) {
    field("jet_conv_size", conv_size);
    field("jet_dconv_generator_reduction", dconv_generator_reduction);
    field("jet_expand_v", expand_v);
    field("jet_head_dim", head_dim);
    field("jet_norm_eps", norm_eps);
    field("jet_num_heads", num_heads);
  }

  int64_t value_size() const;  // dv
  int64_t channels() const { return num_heads * value_size(); }
};

/// q, k = unit(silu(q_proj x)), ..; v = silu(convolution of v_proj x with taps w2 silu(w1 x) +
/// bias); o by the delta rule with decay exp(A_log) softplus(a_proj x + dt_bias) and beta
/// sigmoid(b_proj x); y = o_proj(rms_norm(o; o_norm) .* silu(g_proj x)).
class JetMixer : public TokenMixer {
 public:
  explicit JetMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;
  void draw_own_parameters() override;

 private:
  /// What tokens bring before anything looks along the sequence, [.., W] for tokens [..].
  struct Brought {
    Tensor q, k, v;      // as projected
    Tensor taps;         // [.., H dv, W]
    Tensor decay, beta;  // [.., H] in the type of sums
    Tensor gate;         // [.., H dv]
  };
  Brought bring(const std::vector<Tensor>& projected, const Tensor& generated) const;

  /// Of [B, T, ..], v convolved and activated.
  Recurrence recurrence_of(const Brought& in) const;

  /// The input of o_proj [.., H dv] from what the recurrence gave, [.., H, dv].
  Tensor gated(const Tensor& o, const Tensor& gate) const;

  JetConfig config_;
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  Linear a_proj_{nullptr}, b_proj_{nullptr}, g_proj_{nullptr};
  Linear w1_{nullptr}, w2_{nullptr};  // of the taps
  RmsNorm o_norm_{nullptr};           // of each head, [dv]
  Tensor A_log_, dt_bias_;            // [H]
};

}  // namespace hypenet
