// The linear layers of a step in a program without device kernels.
#include "kernels/cuda/linear_step.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status linear_step(const LinearStepParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
