// Rounding a matrix to few bits: the definitions of int8, int4 and fp8 (docs/lowbit.md). A search
// for better scales or codes is somebody else's; it makes its matrices by these functions.
#pragma once

#include "lowbit/quantised_matrix.h"

namespace hypenet {

/// How a matrix is cut, and what its codes are.
struct RoundingForm {
  CodeType type = CodeType::kInt8;
  int64_t group = 0;       // columns that share a scale; 0: all
  int64_t scale_rows = 1;  // rows that share a scale; 0: all
  bool has_zeros = false;  // kInt4: codes that reach from the least to the largest number
  torch::ScalarType scale_type = torch::kBFloat16;
};

/// Scales in the form's scale_type and zeros, shaped as those of QuantisedMatrix.
struct RoundingScales {
  Tensor scales = {};
  Tensor zeros = {};
};

/// The scales that let the largest number reach the last code: with m the largest |w| of a group,
///   kInt8 m / 127, kInt4 m / 7, kFloat8 m / 448;
/// with zeros (max(w, 0) - min(w, 0)) / 15 and zero = round(-min(w, 0) / scale) - 8. `clip` [shaped
/// as scales, or one number], above 0 and at most 1, multiplies m, max and min first. Rounded to
/// the scale type; where that gives 0, the scale is 1. weight [N, K] of any floating type. Throws
/// Error for a weight that is not finite, and for scales that the type cannot hold.
RoundingScales scales_of(const Tensor& weight, const RoundingForm& form,
                         const Tensor& clip = torch::ones({}));

/// The nearest codes under given scales, ties to even, in float32: integers of w / scale + zero
/// held to -127 .. 127 (kInt8) or -8 .. 7 (kInt4); e4m3fn of w / scale held to +-448.
/// group_of_column as in QuantisedMatrix, or undefined.
QuantisedMatrix round_with(const Tensor& weight, const RoundingForm& form,
                           const RoundingScales& scales, const Tensor& group_of_column = {});

/// round_with of scales_of.
QuantisedMatrix round_to_nearest(const Tensor& weight, const RoundingForm& form);

/// Integer codes, int8 [N, K] of -8 to 7, as kInt4 stores them: uint8 [N, (K + 1) / 2]. An odd
/// column's missing neighbour is code 0.
Tensor pack_int4(const Tensor& codes);
/// The inverse: int8 [N, columns].
Tensor unpack_int4(const Tensor& packed, int64_t columns);

}  // namespace hypenet
