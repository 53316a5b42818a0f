// Rows are expanded by all threads, each through a row of float32.
#include "lowbit/quantised_matrix.h"

#include <ATen/Parallel.h>
#include <c10/util/Float8_e4m3fn.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int64_t kValuesOfARun = 1 << 14;

/// Rounded up.
int64_t divided(int64_t count, int64_t by) { return by >= count ? 1 : (count + by - 1) / by; }

std::array<float, 256> make_float8_values() {
  std::array<float, 256> values{};
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = c10::detail::fp8e4m3fn_to_fp32_value(static_cast<uint8_t>(i));
  }
  return values;
}

/// One matrix while it is expanded: scales and zeros as float32, which hold them exactly.
class Expansion {
 public:
  explicit Expansion(const QuantisedMatrix& matrix)
      : matrix_(matrix),
        scales_(matrix.scales.to(torch::kFloat32)),
        zeros_(matrix.zeros.defined() ? matrix.zeros.to(torch::kFloat32)
                                      : torch::zeros_like(scales_)),
        float8_(make_float8_values()) {}

  /// Row n as float32, K numbers.
  void row(int64_t n, float* values) const {
    read_codes(n, values);
    const int64_t groups = scales_.size(1);
    const int64_t at = n / std::min(matrix_.scale_rows, matrix_.rows) * groups;
    const float* const scale = scales_.const_data_ptr<float>() + at;
    const float* const zero = zeros_.const_data_ptr<float>() + at;
    const int64_t columns = matrix_.columns;
    if (matrix_.group_of_column.defined()) {
      const int32_t* const group_of = matrix_.group_of_column.const_data_ptr<int32_t>();
      for (int64_t k = 0; k < columns; ++k) {
        values[k] = (values[k] - zero[group_of[k]]) * scale[group_of[k]];
      }
      return;
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = g * matrix_.group;
      const int64_t end = std::min(columns - begin, matrix_.group) + begin;
      for (int64_t k = begin; k < end; ++k) values[k] = (values[k] - zero[g]) * scale[g];
    }
  }

 private:
  void read_codes(int64_t n, float* codes) const {
    const int64_t columns = matrix_.columns;
    const auto* const row =
        static_cast<const uint8_t*>(matrix_.codes.const_data_ptr()) + n * matrix_.codes.size(1);
    switch (matrix_.type) {
      case CodeType::kInt4:
        for (int64_t k = 0; k < columns; ++k) {
          const int shift = static_cast<int>(k % 2) * 4;
          codes[k] = static_cast<float>(((row[k / 2] >> shift) & 15) - 8);
        }
        return;
      case CodeType::kInt8:
        for (int64_t k = 0; k < columns; ++k) codes[k] = static_cast<int8_t>(row[k]);
        return;
      case CodeType::kFloat8:
        for (int64_t k = 0; k < columns; ++k) codes[k] = float8_[row[k]];
        return;
    }
  }

  const QuantisedMatrix& matrix_;
  Tensor scales_, zeros_;
  std::array<float, 256> float8_;
};

void check_tensor(const Tensor& tensor, const std::vector<int64_t>& shape, torch::ScalarType type,
                  const std::string& place) {
  HYPENET_CHECK(tensor.scalar_type() == type && tensor.sizes() == torch::IntArrayRef(shape) &&
                    tensor.is_contiguous() && tensor.device().is_cpu(),
                place, ": expected ", type, " ", torch::IntArrayRef(shape),
                " contiguous on the CPU, found ", tensor.scalar_type(), " ", tensor.sizes());
}

void check_codes(const QuantisedMatrix& matrix, const std::string& place) {
  const Tensor& codes = matrix.codes;
  switch (matrix.type) {
    case CodeType::kInt4: {
      const int64_t least = divided(matrix.columns, 2);
      const int64_t bytes = codes.dim() == 2 ? std::max(codes.size(1), least) : least;
      return check_tensor(codes, {matrix.rows, bytes}, torch::kUInt8, place);
    }
    case CodeType::kInt8:
      return check_tensor(codes, {matrix.rows, matrix.columns}, torch::kInt8, place);
    case CodeType::kFloat8:
      return check_tensor(codes, {matrix.rows, matrix.columns}, torch::kFloat8_e4m3fn, place);
  }
}

void check_range(const Tensor& numbers, int64_t least, int64_t most, const std::string& place) {
  if (numbers.numel() == 0) return;
  const auto [low, high] = torch::aminmax(numbers);
  const auto found = low.item<int64_t>() < least ? low.item<int64_t>() : high.item<int64_t>();
  HYPENET_CHECK(found >= least && found <= most, place, ": expected numbers of ", least, " to ",
                most, ", found ", found);
}

}  // namespace

std::string_view code_type_name(CodeType type) {
  switch (type) {
    case CodeType::kInt4:
      return "int4";
    case CodeType::kInt8:
      return "int8";
    case CodeType::kFloat8:
      return "float8";
  }
  throw Error("code type: expected one of CodeType");
}

int64_t QuantisedMatrix::bytes() const {
  size_t all = 0;
  for (const Tensor* part : {&codes, &scales, &zeros, &group_of_column}) {
    if (part->defined()) all += part->nbytes();
  }
  return static_cast<int64_t>(all);
}

Tensor QuantisedMatrix::expand(torch::ScalarType to) const {
  Tensor values = torch::empty({rows, columns}, to);
  const Expansion expansion(*this);
  const int64_t run = std::max<int64_t>(1, kValuesOfARun / std::max<int64_t>(1, columns));
  at::parallel_for(0, rows, run, [&](int64_t begin, int64_t end) {
    Tensor row = torch::empty({columns}, torch::kFloat32);
    for (int64_t n = begin; n < end; ++n) {
      if (to == torch::kFloat32) {
        expansion.row(n, values.data_ptr<float>() + n * columns);
      } else {
        expansion.row(n, row.data_ptr<float>());
        values[n].copy_(row);
      }
    }
  });
  return values;
}

QuantisedMatrix QuantisedMatrix::narrow_rows(int64_t first, int64_t count) const {
  QuantisedMatrix part = *this;
  part.rows = count;
  part.codes = codes.narrow(0, first, count);
  if (scale_rows >= rows) return part;
  HYPENET_CHECK(first % scale_rows == 0 && (count % scale_rows == 0 || first + count == rows),
                "rows of a quantised matrix: expected multiples of ", scale_rows, ", found ", first,
                " and ", count);
  const int64_t begin = first / scale_rows, length = divided(count, scale_rows);
  part.scales = scales.narrow(0, begin, length);
  if (zeros.defined()) part.zeros = zeros.narrow(0, begin, length);
  return part;
}

void check_matrix(const QuantisedMatrix& matrix, std::string_view place) {
  const std::string at(place);
  HYPENET_CHECK(matrix.rows > 0 && matrix.columns > 0 && matrix.group > 0 && matrix.scale_rows > 0,
                at, ": expected rows, columns, group and scale_rows above 0, found ", matrix.rows,
                ", ", matrix.columns, ", ", matrix.group, " and ", matrix.scale_rows);
  check_codes(matrix, at + ": codes");
  const torch::ScalarType type = matrix.scales.scalar_type();
  HYPENET_CHECK(type == torch::kFloat32 || type == torch::kFloat16 || type == torch::kBFloat16, at,
                ": scales: expected float32, float16 or bfloat16, found ", type);
  const std::vector<int64_t> shape = {divided(matrix.rows, matrix.scale_rows), matrix.groups()};
  check_tensor(matrix.scales, shape, type, at + ": scales");
  if (matrix.zeros.defined()) {
    HYPENET_CHECK(matrix.type != CodeType::kFloat8, at, ": zeros: expected none for float8");
    check_tensor(matrix.zeros, shape, torch::kInt16, at + ": zeros");
    const int64_t most = matrix.type == CodeType::kInt4 ? 8 : 128;
    check_range(matrix.zeros, -most, most, at + ": zeros");
  }
  if (!matrix.group_of_column.defined()) return;
  check_tensor(matrix.group_of_column, {matrix.columns}, torch::kInt32, at + ": group of column");
  check_range(matrix.group_of_column, 0, matrix.groups() - 1, at + ": group of column");
}

}  // namespace hypenet
