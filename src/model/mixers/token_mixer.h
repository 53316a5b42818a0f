// TokenMixer: the one point of extension. A new mixer is a file here and a line in make_mixer.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <variant>

#include "model/config.h"
#include "model/decode_state.h"
#include "model/norm.h"
#include "ops/rope.h"

namespace hypenet {

/// What the layers of one forward share. Rows are aligned on the right (left padding only; CausalLm
/// sees to it).
struct Step {
  RopeAngles angles;   // of each position, [B, T, d/2]; or [T, d/2] when no row is padded
  Tensor positions;    // int64, [B, T] or [T] likewise: 0-based in the row's own tokens
  Tensor first_token;  // [B] int64 counted from the cache's start; undefined when no row is padded
  Tensor valid;        // [B, T, 1] bool, false at padding; undefined when there is none here
  Tensor query_scale;  // float32 factor of attention queries, [B or 1, T, 1, 1]; undefined when off
  int64_t past = 0;    // tokens already in the cache, padding included
};

/// The memory of one layer, or nothing (training).
using LayerState = std::variant<KvCache, RecurrentState>;

class TokenMixer : public torch::nn::Module {
 public:
  /// x [B, T, D] (after the input norm) -> [B, T, D]. With `state`, reads what came before and
  /// appends this step.
  virtual Tensor forward(const Tensor& x, const Step& step, LayerState* state) = 0;
};

/// The mixer that `config.mixer_types[layer]` names.
std::shared_ptr<TokenMixer> make_mixer(const ModelConfig& config, MixerType type);

/// [B, T, heads d] -> [B, T, heads, d], a view.
Tensor split_heads(const Tensor& x, int64_t heads);

/// x [B, T, heads, d], queries or keys, normed unless `norm` is empty and then rotated if
/// `rotates`.
Tensor norm_and_rotate(const Tensor& x, const RmsNorm& norm, bool rotates,
                       const RopeAngles& angles);

}  // namespace hypenet
