// Mean squared error in a program without device kernels.
#include "kernels/cuda/mean_squared_error.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status mean_squared_error(const MeanSquaredErrorParams& /*params*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
