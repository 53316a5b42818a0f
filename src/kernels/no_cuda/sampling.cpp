// Sampling in a program without device kernels.
#include "kernels/cuda/sampling.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

int64_t sample_scratch_words(int64_t /*rows*/, int64_t /*vocabulary*/) { return 0; }

Status sample_tokens(const SampleParams& /*params*/, uint32_t* /*scratch*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
