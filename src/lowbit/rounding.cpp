// All sums of a group are in float32; scales are rounded to their stored type before codes are
// chosen, so that the codes are the nearest under what is stored.
#include "lowbit/rounding.h"

#include <torch/types.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace hypenet {
namespace {

int64_t size_or_all(int64_t size, int64_t all) { return size == 0 ? all : std::min(size, all); }

/// [R, scale_rows, G, group]: the matrix as blocks, filled up with zeros, which change no largest
/// and, as max(w, 0) and min(w, 0) are asked for, no other bound.
Tensor blocks_of(const Tensor& weight, const RoundingForm& form) {
  const int64_t N = weight.size(0), K = weight.size(1);
  const int64_t rows = size_or_all(form.scale_rows, N), group = size_or_all(form.group, K);
  const Tensor filled = torch::constant_pad_nd(
      weight.to(torch::kFloat32), {0, (group - K % group) % group, 0, (rows - N % rows) % rows});
  return filled.reshape({filled.size(0) / rows, rows, filled.size(1) / group, group});
}

/// A number a scale [R, G] as one an element [N, K].
Tensor spread(const Tensor& numbers, const QuantisedMatrix& matrix) {
  const Tensor rows = numbers.repeat_interleave(std::min(matrix.scale_rows, matrix.rows), 0)
                          .narrow(0, 0, matrix.rows);
  if (matrix.group_of_column.defined()) return rows.index_select(1, matrix.group_of_column);
  return rows.repeat_interleave(std::min(matrix.group, matrix.columns), 1)
      .narrow(1, 0, matrix.columns);
}

double last_code(CodeType type) {
  switch (type) {
    case CodeType::kInt4:
      return 7;
    case CodeType::kInt8:
      return 127;
    case CodeType::kFloat8:
      return 448;
  }
  throw Error("code type: expected one of CodeType");
}

void check_weight(const Tensor& weight) {
  HYPENET_CHECK(
      weight.dim() == 2 && weight.numel() > 0 && torch::isFloatingType(weight.scalar_type()),
      "rounding: expected a matrix of floating point, found ", weight.scalar_type(), " ",
      weight.sizes());
}

Tensor stored_scales(const Tensor& scales, torch::ScalarType type) {
  HYPENET_CHECK(torch::isfinite(scales).all().item<bool>(),
                "rounding: expected weights that are finite, found one that is not");
  const Tensor stored = scales.to(type);
  HYPENET_CHECK(torch::isfinite(stored).all().item<bool>(), "rounding: expected scales that ", type,
                " can hold, found ", scales.max().item<float>());
  return torch::where(stored == 0, torch::ones_like(stored), stored);
}

}  // namespace

RoundingScales scales_of(const Tensor& weight, const RoundingForm& form, const Tensor& clip) {
  check_weight(weight);
  const Tensor blocks = blocks_of(weight, form);
  const Tensor factor = clip.to(torch::kFloat32);
  if (!form.has_zeros) {
    const Tensor largest = blocks.abs().amax({1, 3}) * factor;
    return {stored_scales(largest / last_code(form.type), form.scale_type), {}};
  }
  HYPENET_CHECK(form.type == CodeType::kInt4,
                "rounding: expected int4 where there are zeros, found ", code_type_name(form.type));
  const Tensor most = blocks.amax({1, 3}).clamp_min(0) * factor;
  const Tensor least = blocks.amin({1, 3}).clamp_max(0) * factor;
  const Tensor scales = stored_scales((most - least) / 15, form.scale_type);
  const Tensor zeros = torch::round(-least / scales.to(torch::kFloat32)).clamp(0, 15) - 8;
  return {scales, zeros.to(torch::kInt16)};
}

QuantisedMatrix round_with(const Tensor& weight, const RoundingForm& form,
                           const RoundingScales& scales, const Tensor& group_of_column) {
  check_weight(weight);
  QuantisedMatrix matrix{.type = form.type,
                         .rows = weight.size(0),
                         .columns = weight.size(1),
                         .group = size_or_all(form.group, weight.size(1)),
                         .scale_rows = size_or_all(form.scale_rows, weight.size(0)),
                         .scales = scales.scales.contiguous(),
                         .zeros = scales.zeros,
                         .group_of_column = group_of_column};
  const Tensor divided =
      weight.to(torch::kFloat32) / spread(matrix.scales.to(torch::kFloat32), matrix);
  if (form.type == CodeType::kFloat8) {
    matrix.codes = divided.clamp(-448, 448).to(torch::kFloat8_e4m3fn);
  } else {
    Tensor codes = torch::round(divided);
    if (matrix.zeros.defined()) codes += spread(matrix.zeros.to(torch::kFloat32), matrix);
    const bool is_int4 = form.type == CodeType::kInt4;
    codes = codes.clamp(is_int4 ? -8 : -127, is_int4 ? 7 : 127).to(torch::kInt8);
    matrix.codes = is_int4 ? pack_int4(codes) : codes;
  }
  check_matrix(matrix, "rounding");
  return matrix;
}

QuantisedMatrix round_to_nearest(const Tensor& weight, const RoundingForm& form) {
  return round_with(weight, form, scales_of(weight, form));
}

Tensor pack_int4(const Tensor& codes) {
  const Tensor stored =
      torch::constant_pad_nd(codes.contiguous(), {0, codes.size(1) % 2}).add(8).to(torch::kUInt8);
  const Tensor pairs = stored.unflatten(1, {-1, 2});
  return torch::bitwise_or(pairs.select(2, 0), torch::bitwise_left_shift(pairs.select(2, 1), 4));
}

Tensor unpack_int4(const Tensor& packed, int64_t columns) {
  const Tensor low = torch::bitwise_and(packed, 15);
  const Tensor high = torch::bitwise_right_shift(packed, 4);
  return torch::stack({low, high}, 2).flatten(1).narrow(1, 0, columns).to(torch::kInt8).sub_(8);
}

}  // namespace hypenet
