// Mamba-2 as The Mamba in the Llama (arXiv 2408.15237) makes it of attention: queries, keys and
// values of attention behind a short convolution, and a time step a token and head.
#pragma once

#include <optional>
#include <string>

#include "model/mixers/delta_rule.h"

namespace hypenet {

/// "mamba2"
extern const MixerKind kMamba2Mixer;

/// Its keys of config.json. Sizes that config.json leaves out are those of the attention layers.
struct Mamba2Config {
  int64_t num_heads = 0, num_key_value_heads = 0;  // of C and the output, of B and x
  int64_t head_dim = 0;                            // N = P
  int64_t conv_kernel = 4;
  std::string conv_init = "random";            // or "identity": what a new layer starts as
  std::optional<std::string> hidden_act = {};  // "silu": after the convolution
  bool use_qk_norm = false, use_rope = false;  // of C and B after the convolution
  bool use_z_bias = false;                     // of the output gate
  template <class Visitor>
  void visit(Visitor&& field) {
    field("mamba2_conv_init", conv_init);
    field("mamba2_conv_kernel", conv_kernel);
    field("mamba2_head_dim", head_dim);
    field("mamba2_hidden_act", hidden_act);
    field("mamba2_num_heads", num_heads);
    field("mamba2_num_key_value_heads", num_key_value_heads);
    field("mamba2_use_qk_norm", use_qk_norm);
    field("mamba2_use_rope", use_rope);
    field("mamba2_use_z_bias", use_z_bias);
  }

  /// Rows of in_proj: z, x, B, C and dt.
  int64_t inner() const { return num_heads * head_dim; }
  int64_t narrow() const { return num_key_value_heads * head_dim; }
  int64_t channels() const { return inner() + 2 * narrow(); }  // that the convolution mixes
};

/// exp(A_log) starts above this.
constexpr double kLeastMamba2Rate = 1;

/// silu of it is 1: an output gate that begins open.
constexpr double kOpenSilu = 1.2784645427610738;

/// [z, xBC, dt] = in_proj u, [x, B, C] = act(convolution(xBC)); S_t = exp(-exp(A_log) D_t) S_{t-1}
/// + B_t^T D_t x_t with time steps D_t = softplus(dt + dt_bias), y_t = C_t S_t + D x_t; out_proj(
/// rms of each head(y .* silu(z + z_bias)) .* norm.weight).
class Mamba2Mixer : public TokenMixer {
 public:
  explicit Mamba2Mixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;
  void draw_own_parameters() override;

 private:
  struct Brought {
    Tensor z, channels, dt;
  };
  Brought parts_of(const Tensor& projected) const;
  Tensor activated(const Tensor& convolved) const;
  Recurrence recurrence_of(const Tensor& channels, const Tensor& dt, const RopeAngles& angles);
  Tensor with_skip(const Tensor& o, const Tensor& x) const;  // [B, T, H, d]
  Tensor gated(const Tensor& y, const Tensor& z) const;      // [.., H d]

  Mamba2Config config_;
  Linear in_proj_{nullptr}, out_proj_{nullptr};
  ShortConvolution conv1d_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // of C and B; empty without q/k norm
  RmsNorm norm_{nullptr};                      // its weight [H d]
  Tensor A_log_, dt_bias_, D_;                 // [H]
  Tensor z_bias_;                              // [H d], or undefined
};

}  // namespace hypenet
