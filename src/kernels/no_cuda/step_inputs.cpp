// What a step starts from, in a program without device kernels.
#include "kernels/cuda/step_inputs.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status step_inputs(const StepInputsParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
