// Lightning attention in a program without device kernels.
#include "kernels/cuda/lightning.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status lightning(const LightningParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

}  // namespace hypenet::kernels::cuda
