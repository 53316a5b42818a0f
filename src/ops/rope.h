// Rotary position embedding, half-split layout (the "rotate_half" of transformers). Angles are
// formed in float64: at a million tokens a float32 product position * frequency is off by up to
// 0.06 rad (docs/kernels.md, "RoPE far out").
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// cos and sin of the angles, each [..., d / 2] float32 (positions' shape in front).
struct RopeAngles {
  Tensor cos, sin;
};

/// positions int64 [B, T] or [T], frequencies in rad a token [d / 2] (float64).
RopeAngles rope_angles(const Tensor& positions, const Tensor& frequencies);

/// The frequencies theta^(-2i/d), i = 0 .. d/2-1, as float64 [d / 2].
Tensor rope_frequencies(int64_t head_dim, double theta);

/// Rotates x [B, T, heads, d] by the angles of its positions ([B, T, d/2] or [T, d/2]), computed in
/// float32, returned in x's type. Differentiable.
Tensor apply_rope(const Tensor& x, const RopeAngles& angles);

/// apply_rope(rms_norm(x, weight, eps), angles): the q or k norm over d, weight [d], and the
/// rotation, in one pass over x on a GPU, rounded once. Differentiable in x and weight.
Tensor norm_rope(const Tensor& x, const Tensor& weight, double eps, const RopeAngles& angles);

}  // namespace hypenet
