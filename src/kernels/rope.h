// Rotary position embedding on float32 rows, half-split layout.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

struct RopeParams {
  const float* x;    // [tokens, heads, 2 half]
  float* y;          // [tokens, heads, 2 half]
  const float* cos;  // [positions, half]; token t has position t modulo `positions`
  const float* sin;  // [positions, half]
  int64_t heads, half, positions;
  float direction;  // 1: forward; -1: by the opposite angles (backward)
};

/// Tokens begin .. end - 1.
void rope(const RopeParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
