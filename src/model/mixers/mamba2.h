// Mamba-2 as The Mamba in the Llama (arXiv 2408.15237) makes it of attention: queries, keys and
// values of attention behind a short convolution, and a time step a token and head. With its keys
// set also the layer of Mamba-2 itself, and Llamba's (arXiv 2502.14458), which has no time step.
#pragma once

#include <optional>
#include <string>

#include "model/mixers/delta_rule.h"
#include "ops/short_convolution.h"

namespace hypenet {

/// "mamba2"
extern const MixerKind kMamba2Mixer;

/// Its keys of config.json. Sizes that config.json leaves out are those of the attention layers.
struct Mamba2Config {
  int64_t num_heads = 0, num_key_value_heads = 0;             // of C and the output, of B and x
  int64_t head_dim = 0;                                       // P, of x and the output
  std::optional<int64_t> state_size = {};                     // N, of B and C, where it is not P
  std::optional<int64_t> num_x_heads = {}, num_c_heads = {};  // where x has others than B, C than y
  std::optional<int64_t> norm_groups = {};                    // of the output norm, for heads
  double norm_eps = 1e-5;                                     // likewise
  bool is_discrete = false;  // decays are softplus(dt), x has no time step, y no norm
  int64_t conv_kernel = 4;
  bool use_conv_bias = true;
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
    field("mamba2_is_discrete", is_discrete);
    field("mamba2_norm_eps", norm_eps);
    field("mamba2_norm_groups", norm_groups);
    field("mamba2_num_c_heads", num_c_heads);
    field("mamba2_num_heads", num_heads);
    field("mamba2_num_key_value_heads", num_key_value_heads);
    field("mamba2_num_x_heads", num_x_heads);
    field("mamba2_state_size", state_size);
    field("mamba2_use_conv_bias", use_conv_bias);
    field("mamba2_use_qk_norm", use_qk_norm);
    field("mamba2_use_rope", use_rope);
    field("mamba2_use_z_bias", use_z_bias);
  }

  int64_t state_channels() const { return state_size.value_or(head_dim); }
  int64_t x_heads() const { return num_x_heads.value_or(num_key_value_heads); }
  int64_t c_heads() const { return num_c_heads.value_or(num_heads); }

  /// Rows of in_proj: z, x, B, C and dt.
  int64_t inner() const { return num_heads * head_dim; }
  std::vector<int64_t> convolved() const {
    return {x_heads() * head_dim, num_key_value_heads * state_channels(),
            c_heads() * state_channels()};
  }
  /// Channels of x, B and C, which go through the convolution together.
  int64_t channels() const { return convolved()[0] + convolved()[1] + convolved()[2]; }
};

/// exp(A_log) starts above this.
constexpr double kLeastMamba2Rate = 1;

/// silu of it is 1: an output gate that begins open.
constexpr double kOpenSilu = 1.2784645427610738;

/// [z, xBC, dt] = in_proj u, [x, B, C] = act(convolution(xBC)); S_t = exp(-exp(A_log) D_t) S_{t-1}
/// + B_t^T D_t x_t with time steps D_t = softplus(dt + dt_bias), y_t = C_t S_t + D x_t; out_proj(
/// rms of each head(y .* silu(z + z_bias)) .* norm.weight). Discrete: [xBC, z, dt] = in_proj u, S_t
/// = exp(-softplus(dt)) S_{t-1} + B_t^T x_t; out_proj(y .* silu(z + z_bias)).
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
  std::vector<int64_t> part_sizes() const;  // of in_proj's rows
  Brought brought(const std::vector<Tensor>& parts) const;
  Brought parts_of(const Tensor& projected) const;
  /// parts_of(in_proj x); on a GPU with gradients by a product a part, so that none is copied.
  Brought project(const Tensor& x);
  AfterConvolution after_convolution() const;
  Recurrence recurrence_of(const Tensor& channels, const Tensor& dt, const RopeAngles& angles);
  /// [.., H d] of o and x [.., H, d].
  Tensor with_skip_gated(const Tensor& o, const Tensor& x, const Tensor& z) const;
  Tensor gated(const Tensor& y, const Tensor& z) const;  // [.., H d]
  bool is_norm_of_heads() const;

  Mamba2Config config_;
  Linear in_proj_{nullptr}, out_proj_{nullptr};
  ShortConvolution conv1d_{nullptr};
  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // of C and B; empty without q/k norm
  RmsNorm norm_{nullptr};                      // its weight [H d]; empty if discrete
  Tensor A_log_, dt_bias_;                     // [H]; undefined if discrete
  Tensor D_;                                   // [H]
  Tensor z_bias_;                              // [H d], or undefined
};

}  // namespace hypenet
