// One pre-norm decoder block: h += mixer(norm(h)); h += mlp(norm(h)). What stands in the place of
// the MLP, or that nothing does, config.blocks says.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "model/channel_mix.h"
#include "model/linear.h"
#include "model/mixers/token_mixer.h"
#include "model/norm.h"

namespace hypenet {

/// down(silu(gate(x)) * up(x)), no biases: the MLP of Qwen3, Qwen2 and Llama.
class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(const ModelConfig& config);
  Tensor forward(const Tensor& x);

  /// The same for the rows of an inference step.
  StepOutput step(const Normed& x);

 private:
  Linear gate_{nullptr}, up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(Mlp);

class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(const ModelConfig& config, int64_t layer);

  /// x and the result [B, T, D]; what the MLP adds stays pending.
  Residual forward(const Residual& x, const Context& context);

  /// The same for a chunk of one sequence, x [1, T, D], and for the rows of an inference step, h
  /// [N, D] in place; both read and update the layer's memory. No autograd.
  Residual prefill(const Residual& x, const Context& context, const Prefix& prefix,
                   LayerMemory& memory);
  void step(const Tensor& h, const TokenRows& rows, LayerMemory& memory);

  /// The mixer's input beside the sum h that it is the norm of, and what comes after the mixer's
  /// output: forward is finish(h, mixer(input), context) with [h, input] = mixer_input(x).
  SumAndNorm mixer_input(const Residual& x);
  Residual finish(const Tensor& h, const Tensor& mixer_output, const Context& context);

  TokenMixer& mixer() { return *mixer_; }

 private:
  RmsNorm input_norm_{nullptr}, post_attention_norm_{nullptr};
  std::shared_ptr<TokenMixer> mixer_;
  Mlp mlp_{nullptr};  // one of the two, or neither
  ChannelMix channel_mix_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace hypenet
