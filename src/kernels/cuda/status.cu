// The program has device kernels.
#include "kernels/status.h"

namespace hypenet::kernels {

bool has_cuda_kernels() { return true; }

}  // namespace hypenet::kernels
