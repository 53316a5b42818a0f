// The program has no device kernels: the table is empty.
#include "kernels/device.h"

namespace hypenet::kernels {

bool has_cuda_kernels() { return false; }

const DeviceKernels& device_kernels() {
  static const DeviceKernels kEmpty;
  return kEmpty;
}

}  // namespace hypenet::kernels
