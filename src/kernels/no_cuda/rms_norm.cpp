// RMSNorm in a program without device kernels.
#include "kernels/cuda/rms_norm.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status rms_norm(const RmsNormParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

int64_t rms_norm_backward_parts(const RmsNormBackwardParams& /*params*/) { return 0; }

Status rms_norm_backward(const RmsNormBackwardParams& /*params*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
