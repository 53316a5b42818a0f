// What a matrix of few bits stands for, number by number.
#include "lowbit/quantised_matrix.h"

#include <gtest/gtest.h>

#include "lowbit/rounding.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

constexpr int64_t kRows = 10, kColumns = 22;

Tensor random_codes(CodeType type) {
  if (type == CodeType::kInt4)
    return pack_int4(torch::randint(-8, 8, {kRows, kColumns}, torch::kInt8));
  if (type == CodeType::kInt8) return torch::randint(-128, 128, {kRows, kColumns}, torch::kInt8);
  return torch::randn({kRows, kColumns}).mul(60).to(torch::kFloat8_e4m3fn);
}

QuantisedMatrix random_matrix(CodeType type, int64_t group, int64_t scale_rows) {
  QuantisedMatrix matrix{.type = type,
                         .rows = kRows,
                         .columns = kColumns,
                         .group = group,
                         .scale_rows = scale_rows,
                         .codes = random_codes(type)};
  const int64_t rows = (kRows + scale_rows - 1) / scale_rows;
  matrix.scales = torch::rand({rows, matrix.groups()}).add_(0.01);
  return matrix;
}

Tensor codes_of(const QuantisedMatrix& matrix) {
  return matrix.type == CodeType::kInt4
             ? unpack_int4(matrix.codes, matrix.columns).to(torch::kFloat64)
             : matrix.codes.to(torch::kFloat32).to(torch::kFloat64);
}

/// The definition, in float64, where (code - zero) scale is exact.
Tensor defined(const QuantisedMatrix& matrix) {
  const Tensor codes = codes_of(matrix), scales = matrix.scales.to(torch::kFloat64);
  Tensor values = torch::empty({matrix.rows, matrix.columns}, torch::kFloat64);
  for (int64_t n = 0; n < matrix.rows; ++n) {
    for (int64_t k = 0; k < matrix.columns; ++k) {
      const int64_t row = n / matrix.scale_rows;
      const int64_t g = matrix.group_of_column.defined() ? matrix.group_of_column[k].item<int64_t>()
                                                         : k / matrix.group;
      const double zero = matrix.zeros.defined() ? matrix.zeros[row][g].item<double>() : 0;
      values[n][k] = (codes[n][k].item<double>() - zero) * scales[row][g].item<double>();
    }
  }
  return values;
}

constexpr CodeType kTypes[] = {CodeType::kInt4, CodeType::kInt8, CodeType::kFloat8};

TEST(QuantisedMatrix, a_number_is_code_less_zero_times_scale) {
  torch::manual_seed(1);
  for (const CodeType type : kTypes) {
    for (const auto& [group, scale_rows] : {std::pair<int64_t, int64_t>{kColumns, 1},
                                            {8, 1},
                                            {kColumns, kRows},
                                            {5, 4},
                                            {1 << 20, 1 << 20}}) {
      QuantisedMatrix matrix = random_matrix(type, group, std::min(scale_rows, kRows));
      matrix.scale_rows = scale_rows;
      check_matrix(matrix, "test");
      EXPECT_TRUE(torch::equal(matrix.expand(), defined(matrix).to(torch::kFloat32)))
          << code_type_name(type) << " " << group << " " << scale_rows;
    }
  }
}

TEST(QuantisedMatrix, zeros_are_subtracted_and_columns_may_be_of_any_group) {
  torch::manual_seed(2);
  for (const CodeType type : {CodeType::kInt4, CodeType::kInt8}) {
    QuantisedMatrix matrix = random_matrix(type, 8, 1);
    const int64_t most = type == CodeType::kInt4 ? 8 : 128;
    matrix.zeros = torch::randint(-most, most + 1, matrix.scales.sizes(), torch::kInt16);
    EXPECT_TRUE(torch::equal(matrix.expand(), defined(matrix).to(torch::kFloat32)));
    matrix.group_of_column = torch::randperm(kColumns).remainder(3).to(torch::kInt32);
    check_matrix(matrix, "test");
    EXPECT_TRUE(torch::equal(matrix.expand(), defined(matrix).to(torch::kFloat32)));
  }
}

TEST(QuantisedMatrix, other_types_round_the_float32_numbers) {
  const QuantisedMatrix matrix = random_matrix(CodeType::kInt8, 8, 1);
  for (const auto type : {torch::kBFloat16, torch::kFloat16, torch::kFloat64}) {
    EXPECT_TRUE(torch::equal(matrix.expand(type), matrix.expand().to(type)));
  }
}

TEST(QuantisedMatrix, rows_of_it_are_rows_of_what_it_stands_for) {
  for (const CodeType type : kTypes) {
    const QuantisedMatrix matrix = random_matrix(type, 8, 4), all = random_matrix(type, 8, kRows);
    EXPECT_TRUE(torch::equal(matrix.narrow_rows(4, 6).expand(), matrix.expand().narrow(0, 4, 6)));
    EXPECT_TRUE(torch::equal(all.narrow_rows(3, 2).expand(), all.expand().narrow(0, 3, 2)));
    check_matrix(matrix.narrow_rows(4, 6), "test");
    check_matrix(all.narrow_rows(3, 2), "test");
  }
  EXPECT_ERROR(random_matrix(CodeType::kInt8, 8, 4).narrow_rows(2, 4),
               "rows of a quantised matrix: expected multiples of 4, found 2 and 4");
}

TEST(QuantisedMatrix, what_does_not_fit_together_is_refused) {
  const auto expect = [](const auto& change, const std::string& text) {
    QuantisedMatrix matrix = random_matrix(CodeType::kInt4, 8, 1);
    matrix.zeros = torch::zeros({kRows, 3}, torch::kInt16);
    change(matrix);
    EXPECT_ERROR(check_matrix(matrix, "m"), text);
  };
  using M = QuantisedMatrix;
  expect([](M& m) { m.group = 0; }, "m: expected rows, columns, group and scale_rows above 0");
  expect([](M& m) { m.codes = m.codes.narrow(1, 0, 10); }, "m: codes: expected");
  expect([](M& m) { m.codes = m.codes.to(torch::kInt8); }, "m: codes: expected");
  expect([](M& m) { m.scales = m.scales.to(torch::kFloat64); },
         "m: scales: expected float32, float16 or bfloat16, found Double");
  expect([](M& m) { m.scales = m.scales.narrow(1, 0, 2).contiguous(); }, "m: scales: expected");
  expect([](M& m) { m.zeros.fill_(9); }, "m: zeros: expected numbers of -8 to 8, found 9");
  expect([](M& m) { m.type = CodeType::kFloat8, m.codes = random_codes(m.type); },
         "m: zeros: expected none for float8");
  expect([](M& m) { m.group_of_column = torch::full({kColumns}, 3, torch::kInt32); },
         "m: group of column: expected numbers of 0 to 2, found 3");
}

}  // namespace
}  // namespace hypenet
