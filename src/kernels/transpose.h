// A transposed copy of a float32 matrix.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// Rows begin .. end - 1 of to [columns, rows] from from [rows, columns], both contiguous: begin
/// and end count columns of `from`.
void transpose(const float* from, int64_t rows, int64_t columns, float* to, int64_t begin,
               int64_t end);

}  // namespace hypenet::kernels
