// A quantised matrix in the layouts that this program reads and does not write: words built bit by
// bit, as docs/lowbit.md has them.
#pragma once

#include <vector>

#include "lowbit/module_tensors.h"
#include "lowbit/quantised_matrix.h"
#include "lowbit/rounding.h"

namespace hypenet::testing_support {

/// Codes of [R, C] as int64, 0 and up, in int32 words of `bits` each along the rows, the place of
/// each in its word by `order`.
inline Tensor words_of(const Tensor& codes, int64_t bits, const std::vector<int64_t>& order = {}) {
  const int64_t in_word = 32 / bits;
  const Tensor cut = codes.to(torch::kInt64).reshape({codes.size(0), -1, in_word});
  Tensor words = torch::zeros({cut.size(0), cut.size(1)}, torch::kInt64);
  for (int64_t i = 0; i < in_word; ++i) {
    const int64_t column = order.empty() ? i : order[static_cast<size_t>(i)];
    words += cut.select(2, column) * (int64_t{1} << (bits * i));
  }
  return words.to(torch::kInt32);
}

/// Signed codes of -2^(bits - 1) and up as int64 from 0 on.
inline Tensor codes_from_zero(const QuantisedMatrix& matrix) {
  const bool is_int4 = matrix.type == CodeType::kInt4;
  const Tensor codes = is_int4 ? unpack_int4(matrix.codes, matrix.columns) : matrix.codes;
  return codes.to(torch::kInt64) + (is_int4 ? 8 : 128);
}

inline Tensor zeros_from_zero(const QuantisedMatrix& matrix) {
  const int64_t middle = matrix.type == CodeType::kInt4 ? 8 : 128;
  if (!matrix.zeros.defined()) return torch::full_like(matrix.scales, middle, torch::kInt64);
  return matrix.zeros.to(torch::kInt64) + middle;
}

/// GPTQ: version 1 stores zeros less 1.
inline ModuleTensors as_gptq(const QuantisedMatrix& matrix, int version) {
  const int64_t bits = matrix.type == CodeType::kInt4 ? 4 : 8;
  const Tensor zeros = zeros_from_zero(matrix) - (version == 1 ? 1 : 0);
  ModuleTensors tensors = {{"qweight", words_of(codes_from_zero(matrix), bits).t().contiguous()},
                           {"qzeros", words_of(zeros.t().contiguous(), bits)},
                           {"scales", matrix.scales.to(torch::kFloat16).t().contiguous()}};
  tensors["g_idx"] = matrix.group_of_column.defined()
                         ? matrix.group_of_column
                         : torch::arange(matrix.columns, torch::kInt32).div(matrix.group, "floor");
  return tensors;
}

inline ModuleTensors as_awq(const QuantisedMatrix& matrix) {
  const std::vector<int64_t> order = {0, 2, 4, 6, 1, 3, 5, 7};
  return {{"qweight", words_of(codes_from_zero(matrix).t().contiguous(), 4, order)},
          {"qzeros", words_of(zeros_from_zero(matrix).t().contiguous(), 4, order)},
          {"scales", matrix.scales.to(torch::kFloat16).t().contiguous()}};
}

/// Blocks of rows and columns.
inline ModuleTensors as_float8_blocks(const QuantisedMatrix& matrix) {
  return {{"weight", matrix.codes}, {"weight_scale_inv", matrix.scales}};
}

}  // namespace hypenet::testing_support
