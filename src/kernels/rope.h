// Rotary position embedding (half-split layout), on a GPU also with the norm of q or k before it in
// the same pass; float32 inside, rounded once.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels {

/// y = rotate(x), or with a weight: y = rotate(norm(x) * weight), the norm over d.
struct RopeParams {
  const void* x;       // [tokens, heads, d]
  const void* weight;  // [d], or null
  const float* cos;    // [positions, d / 2]; token t has position t modulo `positions`
  const float* sin;    // [positions, d / 2]
  void* y;             // [tokens, heads, d]
  float* inverse;      // [tokens, heads]: 1 / sqrt(mean(x^2) + eps) for backward, or null
  int64_t tokens, heads, size, positions;  // size: d, even
  DType type, weight_type;
  float eps;
  float direction = 1;  // 1, or -1 to rotate back: the backward of a rotation alone
};

struct NormRopeBackwardParams {
  const void* x;         // [tokens, heads, d]
  const void* weight;    // [d]
  const float* cos;      // [positions, d / 2]
  const float* sin;      // [positions, d / 2]
  const float* inverse;  // [tokens, heads]
  const void* dy;        // [tokens, heads, d]
  void* dx;              // [tokens, heads, d]
  float* parts;          // [norm_rope_backward_parts(), d]: space to work in, or null
  void* dweight;         // [d] in the weight's type; null when not wanted, as is parts
  int64_t tokens, heads, size, positions;
  DType type, weight_type;
  int64_t part_count;
};

/// Tokens begin .. end - 1 in float32; no norm.
void rope(const RopeParams& params, int64_t begin, int64_t end);

namespace cuda {

constexpr int64_t kMaxRopeSize = 256;  // d

Status rope(const RopeParams& params, Stream stream);

/// How many parts of dweight the kernel leaves on the current device, for part_count.
int64_t norm_rope_backward_parts(const NormRopeBackwardParams& params);

Status norm_rope_backward(const NormRopeBackwardParams& params, Stream stream);

}  // namespace cuda
}  // namespace hypenet::kernels
