// The lightning kernel behind a C interface, for bench/peers/lightning_bench.py.
#include "kernels/cuda/lightning.h"

using hypenet::kernels::cuda::LightningParams;

/// One launch; null, or what is wrong. The struct is laid out in the script as in the header.
extern "C" const char* hypenet_lightning(const LightningParams* params, void* stream) {
  return hypenet::kernels::cuda::lightning(*params, {stream}).error;
}
