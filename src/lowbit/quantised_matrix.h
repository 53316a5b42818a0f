// A matrix held in few bits: codes, their scales, and which scale belongs to which code. Every
// published layout is read into this one form, and written from it (one file a layout beside this).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <string_view>

namespace hypenet {

using torch::Tensor;

enum class CodeType {
  kInt4,    // -8 to 7, stored + 8, two a byte: the even column in the lower four bits
  kInt8,    // -128 to 127
  kFloat8,  // e4m3fn: no infinity, largest 448
};

/// "int4", "int8", "float8".
std::string_view code_type_name(CodeType type);

/// W [N, K] of a linear layer y = x W^T (docs/lowbit.md, "The form"). With g the group of column k,
///   W[n, k] = (code[n, k] - zero[n / scale_rows, g]) scale[n / scale_rows, g].
/// Tensors are on the CPU, contiguous, and may share a file's mapping: they are not written to.
struct QuantisedMatrix {
  CodeType type = CodeType::kInt8;
  int64_t rows = 0, columns = 0;  // N, K
  int64_t group = 0;              // columns that share a scale, at least 1; K or more: all of them
  int64_t scale_rows = 1;         // rows that share a scale; N or more: all of them

  /// kInt4: uint8 [N, at least (K + 1) / 2]; kInt8: int8 [N, K]; kFloat8: float8_e4m3fn [N, K].
  Tensor codes = {};
  /// float32, float16 or bfloat16 [ceil(N / scale_rows), G], G = ceil(K / group).
  Tensor scales = {};
  /// int16, shaped as scales, -8 to 8 for kInt4 and -128 to 128 for kInt8; undefined: all 0.
  Tensor zeros = {};
  /// int32 [K], 0 to G - 1: the group of each column; undefined: k / group.
  Tensor group_of_column = {};

  int64_t groups() const { return group >= columns ? 1 : (columns + group - 1) / group; }
  /// Of all that is stored of it.
  int64_t bytes() const;

  /// W [N, K] in this floating type: (code - zero) is exact, its product with the scale is rounded
  /// to float32 once (not at all for scales of 16 bits and kInt4 or kInt8), and that to `to`.
  Tensor expand(torch::ScalarType to = torch::kFloat32) const;

  /// Rows first .. first + count of it, a view where that can be; `first` and, but for the last
  /// rows, `count` are multiples of scale_rows unless all rows share their scales.
  QuantisedMatrix narrow_rows(int64_t first, int64_t count) const;
};

/// Throws Error, beginning with `place`, unless types, shapes and the numbers of zeros and
/// group_of_column are as the struct says.
void check_matrix(const QuantisedMatrix& matrix, std::string_view place);

}  // namespace hypenet
