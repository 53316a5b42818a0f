// The likeliest tokens on the GPU (docs/kernels.md, "Sampling").
#pragma once

#include "kernels/status.h"
#include "kernels/top_logprobs.h"

namespace hypenet::kernels::cuda {

/// All rows.
Status top_logprobs(const TopLogprobsParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
