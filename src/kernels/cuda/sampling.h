// Choosing tokens on the GPU (docs/kernels.md, "Sampling").
#pragma once

#include "kernels/sampling.h"
#include "kernels/status.h"

namespace hypenet::kernels::cuda {

/// Words of device memory that sample_tokens needs beside its parameters: none where clusters of
/// blocks hold a row of logits in their shared memory, else rows * vocabulary.
int64_t sample_scratch_words(int64_t rows, int64_t vocabulary);

/// All rows. `scratch` is null where none is needed, else a multiple of 16 bytes.
Status sample_tokens(const SampleParams& params, uint32_t* scratch, Stream stream);

}  // namespace hypenet::kernels::cuda
