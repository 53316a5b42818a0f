// What Gated DeltaNet and Kimi Delta Attention share: queries and keys of length 1, a short
// convolution in front of them or none, and the delta rule (docs/kernels.md, "One linear
// recurrence"). The two differ in what a token's decay and gate come from.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <array>
#include <optional>
#include <vector>

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"
#include "ops/delta_step.h"
#include "ops/recurrence.h"

namespace hypenet {

/// Such a mixer's form. The heads of q, k and v are repeated in place until there are `heads`.
struct DeltaForm {
  int64_t heads = 0, query_heads = 0, key_heads = 0, value_heads = 0;
  int64_t key_size = 0, value_size = 0;  // of a head of q and k, and of v and the output
  int64_t taps = 0;                      // of the short convolution of q, k and v; 0: there is none
  bool has_silu = false;                 // on q, k and v, after the convolution
  bool has_qk_norm = false, has_rope = false;

  /// Channels of q, k and v, as projected.
  std::array<int64_t, 3> channels() const {
    return {query_heads * key_size, key_heads * key_size, value_heads * value_size};
  }
};

/// The state of each head, and the last inputs of the convolutions of q, k and v.
std::vector<StatePart> delta_parts(const DeltaForm& form);

/// What a token costs beside the projections of decay, beta and gate.
MixerWork delta_work(const ModelConfig& config, const DeltaForm& form, double context);

/// MixerKind::has_step_kernels.
bool has_delta_step_kernels(const DeltaForm& form);

/// The weight [channels, 1, taps] of ops/short_convolution.h, and a bias [channels] or none.
class ShortConvolutionImpl : public torch::nn::Module {
 public:
  ShortConvolutionImpl(int64_t channels, int64_t taps, bool has_bias = false);
  Tensor weight, bias;
};
TORCH_MODULE(ShortConvolution);

class DeltaMixer : public TokenMixer {
 public:
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;
  void draw_own_parameters() override;

 protected:
  DeltaMixer(const ModelConfig& config, const DeltaForm& form);

  /// What tokens bring before anything looks along the sequence; [.., W] for tokens [..].
  struct Brought {
    std::array<Tensor, 3> qkv;  // as projected
    Tensor decay;               // [.., H] or [.., H dk] nats, in the type of sums
    Tensor beta;                // [.., H], likewise
    Tensor gate;                // [.., H dv] of the output, or undefined
  };
  virtual Brought project_tokens(const Tensor& x) = 0;

  /// The same of an inference step: q, k, v, decay and beta as the step takes them.
  struct BroughtRows {
    DeltaStepInput input;
    Tensor gate;
  };
  virtual BroughtRows project_rows(const Normed& x) = 0;

  /// The input of o_proj [.., H dv] from what the recurrence gave, [.., H, dv].
  virtual Tensor gated(const Tensor& o, const Tensor& gate) = 0;

  DeltaForm form_;
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, o_proj_{nullptr};
  RmsNorm o_norm_{nullptr};  // of each head, [dv]

 private:
  Recurrence recurrence_of(const Brought& in, const RopeAngles& angles);
  void convolve_step(DeltaStepInput& input, const TokenRows& rows,
                     const std::vector<Tensor>& parts) const;
  double scale() const;
  Tensor activated(const Tensor& x) const;

  RmsNorm q_norm_{nullptr}, k_norm_{nullptr};  // empty without q/k norm
  std::array<ShortConvolution, 3> convolutions_{nullptr, nullptr, nullptr};  // of q, k, v; or empty
};

// How decays start; all float32.

/// log A of A from U(least, 16).
Tensor new_log_rates(torch::IntArrayRef shape, double least,
                     const std::optional<torch::Generator>& generator = {});

/// Time steps, log-uniform in 0.001 .. 0.1.
Tensor new_time_steps(torch::IntArrayRef shape,
                      const std::optional<torch::Generator>& generator = {});

/// x of which softplus is y > 0.
Tensor inverse_softplus(const Tensor& y);

}  // namespace hypenet
