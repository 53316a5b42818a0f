// The form of `linear` for bfloat16 rows and weights, on machines with vdpbf16ps.
#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace hypenet::kernels {

/// Outputs begin .. end - 1 of all rows.
void linear_dots(const LinearParams& params, int64_t begin, int64_t end);

}  // namespace hypenet::kernels
