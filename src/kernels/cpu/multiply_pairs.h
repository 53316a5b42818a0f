// The matrix product of bfloat16 pairs that the attention kernels are made of, on machines with
// vdpbf16ps.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

/// C = A B, or C += A B: A [rows, inner] and B [inner, columns] of words that hold two bfloat16
/// numbers, whose products with the other's two are summed; C [rows, columns] float32. Each row of
/// B and C contiguous; rows is a multiple of 4, columns of 16. A sum's order is that of `inner`.
void multiply_pairs(int64_t rows, int64_t columns, int64_t inner, const uint32_t* a, int64_t a_row,
                    const uint32_t* b, float* c, bool add);

}  // namespace hypenet::kernels
