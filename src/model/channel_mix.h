// The feed-forward part of RWKV-7 (arXiv 2503.14456): a token's input is mixed with that of the
// token before it, so that it has a memory, the last part of its layer's.
#pragma once

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"

namespace hypenet {

/// value(relu(key(x + (x' - x) .* x_k))^2), x' the input of the token before, no biases.
class ChannelMixImpl : public torch::nn::Module {
 public:
  explicit ChannelMixImpl(const ModelConfig& config);

  /// x and the result [B, T, D], or the nodes of a tree.
  Tensor forward(const Tensor& x, const Context& context);

  /// The same for a chunk of one sequence, x [1, T, D], and for the rows of an inference step; both
  /// read and update the last part of `memory`. No autograd.
  Tensor prefill(const Tensor& x, const Prefix& prefix, LayerMemory& memory);
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory);

 private:
  Tensor mixed(const Tensor& x, const Tensor& previous) const;

  Tensor x_k_;  // [D]
  Linear key_{nullptr}, value_{nullptr};
};
TORCH_MODULE(ChannelMix);

/// What a layer remembers of a sequence for its channel mixing.
StatePart channel_mix_part(const ModelConfig& config);

}  // namespace hypenet
