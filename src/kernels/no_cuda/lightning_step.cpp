// One step of lightning attention in a program without device kernels.
#include "kernels/cuda/lightning_step.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status lightning_step(const LightningStepParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
