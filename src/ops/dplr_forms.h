// The forms of RWKV-7's recurrence that dplr_recurrence chooses from, beside those of ops/dplr.h.
#pragma once

#include "ops/dplr.h"

namespace hypenet {

/// By the kernels of kernels/cuda, for bfloat16 r and v with dk = dv of 64 or 128 (what the device
/// has); k, a and b are rounded to bfloat16, and decays up to 5 nats a token are float32. Products
/// are of bfloat16 factors, sums and the state on its way float32. Forward it takes scratch memory
/// of 5 times r, backward of 10 times.
bool suits_dplr_cuda(const DplrRecurrence& input);
RecurrenceOutput dplr_cuda(const DplrRecurrence& input);

}  // namespace hypenet
