// The program has no device kernels.
#include "kernels/status.h"

namespace hypenet::kernels {

bool has_cuda_kernels() { return false; }

}  // namespace hypenet::kernels
