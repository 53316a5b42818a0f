// Lightning attention in a program without device kernels.
#include "kernels/cuda/lightning.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status lightning(const LightningParams& /*params*/, Stream /*stream*/) { return kNoCuda; }

bool has_lightning(int64_t /*size*/) { return false; }

}  // namespace hypenet::kernels::cuda
