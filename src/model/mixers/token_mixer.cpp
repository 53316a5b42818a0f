// Steps that several mixers share.
#include "model/mixers/token_mixer.h"

namespace hypenet {

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, x.size(-1) / heads});
}

Tensor norm_and_rotate(const Tensor& x, const RmsNorm& norm, bool rotates,
                       const RopeAngles& angles) {
  if (norm) return rotates ? norm->rotated(x, angles) : norm->forward(x);
  return rotates ? apply_rope(x, angles) : x;
}

}  // namespace hypenet
