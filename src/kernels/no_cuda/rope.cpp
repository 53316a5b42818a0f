// Rotary position embedding in a program without device kernels.
#include "kernels/cuda/rope.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status rope(const RopeParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

int64_t norm_rope_backward_parts(const NormRopeBackwardParams& /*params*/) { return 0; }

Status norm_rope_backward(const NormRopeBackwardParams& /*params*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
