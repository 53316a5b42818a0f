// The CPU's product of rows and weights, in each form that this machine has, against a definition
// in float64, and its promise: a row's bits are its own.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/lanes.h"

namespace hypenet::kernels {
namespace {

struct Form {
  DType rows, weights;
};

std::vector<Form> forms() {
  std::vector<Form> forms = {{DType::kFloat32, DType::kFloat32},
                             {DType::kFloat32, DType::kBFloat16}};
  if (has_bfloat16_dots()) forms.push_back({DType::kBFloat16, DType::kBFloat16});
  return forms;
}

/// The nearest number of eight significant bits.
double as_bfloat16(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(mantissa * 256), exponent - 8);
}

struct Problem {
  Problem(const Form& form, int64_t rows, int64_t size, int64_t out)
      : form(form), rows(rows), size(size), out(out) {
    std::mt19937 random(static_cast<unsigned>(rows * 1000 + size + out));
    std::normal_distribution<float> normal;
    const auto drawn = [&](int64_t count) {
      std::vector<float> numbers(static_cast<size_t>(count));
      for (float& number : numbers) number = normal(random);
      return numbers;
    };
    x = drawn(rows * size), gate = drawn(rows * size), norm = drawn(size);
    weights = drawn(out * size), bias = drawn(out);
    if (form.weights == DType::kFloat32) return;
    for (float& weight : weights) narrow.push_back(rounded(weight)), weight = wide(narrow.back());
    for (float& one : bias) narrow_bias.push_back(rounded(one)), one = wide(narrow_bias.back());
  }

  /// The kernel's outputs of the rows begin .. end - 1, for the outputs in two parts.
  std::vector<float> outputs(int64_t begin, int64_t end, bool adds = false) const {
    std::vector<float> packed(static_cast<size_t>((end - begin) * packed_size(size)),
                              std::numeric_limits<float>::quiet_NaN());
    const PackRowsParams pack{.x = x.data() + begin * size,
                              .norm_weight = norm.data(),
                              .gate = gate.data() + begin * size,
                              .y = packed.data(),
                              .size = size,
                              .x_row = size,
                              .gate_row = size,
                              .norm_type = DType::kFloat32,
                              .weight_type = form.weights,
                              .y_type = form.rows,
                              .eps = 1e-6F};
    pack_rows(pack, 0, end - begin);
    const bool is_narrow = form.weights == DType::kBFloat16;
    std::vector<float> y(static_cast<size_t>((end - begin) * out), 2.0F);
    const LinearParams params{
        .x = packed.data(),
        .weight = is_narrow ? static_cast<const void*>(narrow.data()) : weights.data(),
        .bias = is_narrow ? static_cast<const void*>(narrow_bias.data()) : bias.data(),
        .y = y.data(),
        .rows = end - begin,
        .size = size,
        .out = out,
        .y_row = out,
        .x_type = form.rows,
        .weight_type = form.weights,
        .adds = adds};
    const int64_t half = std::min(out, out / 2 / kLinearUnit * kLinearUnit);
    linear(params, 0, half);
    linear(params, half, out);
    return y;
  }

  /// Of a row, in float64.
  std::vector<double> defined(int64_t row) const {
    std::vector<double> y(static_cast<size_t>(out)), ready(static_cast<size_t>(size));
    double squares = 0;
    for (int64_t k = 0; k < size; ++k) squares += std::pow(x[at(row, k)], 2.0);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(size) + 1e-6);
    for (int64_t k = 0; k < size; ++k) {
      const double ungated = x[at(row, k)] * factor * norm[static_cast<size_t>(k)];
      const double number = ungated / (1 + std::exp(-double{gate[at(row, k)]}));
      ready[static_cast<size_t>(k)] = form.rows == DType::kBFloat16 ? as_bfloat16(number) : number;
    }
    for (int64_t o = 0; o < out; ++o) {
      double& sum = y[static_cast<size_t>(o)];
      sum = bias[static_cast<size_t>(o)];
      for (int64_t k = 0; k < size; ++k) sum += ready[static_cast<size_t>(k)] * weights[at(o, k)];
    }
    return y;
  }

  size_t at(int64_t row, int64_t k) const { return static_cast<size_t>(row * size + k); }
  std::string text() const {
    return "rows " + std::to_string(rows) + " size " + std::to_string(size) + " out " +
           std::to_string(out) + (form.rows == DType::kBFloat16 ? " dots" : "");
  }

  Form form;
  int64_t rows, size, out;
  std::vector<float> x, gate, norm, weights, bias;
  std::vector<BFloat16> narrow, narrow_bias;
};

const int64_t kRows[] = {1, 2, 3, 5, 6, 7, 13, 70};
const std::pair<int64_t, int64_t> kSizes[] = {{1, 1},    {31, 3},   {32, 16},   {33, 37},
                                              {576, 66}, {577, 97}, {1536, 20}, {300, 700}};

template <class Check>
void for_all(const Check& check) {
  for (const Form& form : forms()) {
    for (const int64_t rows : kRows) {
      for (const auto& [size, out] : kSizes) check(Problem(form, rows, size, out));
    }
  }
}

/// What a number that lies beside the middle of two bfloat16 ones, on another side in float32 than
/// in float64, may change.
double tolerance(const Form& form) { return form.rows == DType::kBFloat16 ? 3e-4 : 2e-6; }

TEST(Linear, equals_its_definition) {
  for_all([](const Problem& problem) {
    const std::vector<float> found = problem.outputs(0, problem.rows);
    double wrong = 0, squares = 0;
    for (int64_t row = 0; row < problem.rows; ++row) {
      const std::vector<double> expected = problem.defined(row);
      for (size_t o = 0; o < expected.size(); ++o) {
        const double output = found[static_cast<size_t>(row * problem.out) + o];
        wrong += std::pow(output - expected[o], 2), squares += std::pow(expected[o], 2);
      }
    }
    EXPECT_LE(std::sqrt(wrong / squares), tolerance(problem.form)) << problem.text();
  });
}

TEST(Linear, a_row_has_its_bits_in_any_company) {
  for_all([](const Problem& problem) {
    const std::vector<float> expected = problem.outputs(0, problem.rows);
    for (const int64_t part : {1, 2, 5, 64}) {
      std::vector<float> joined;
      for (int64_t row = 0; row < problem.rows; row += part) {
        const auto some = problem.outputs(row, std::min(row + part, problem.rows));
        joined.insert(joined.end(), some.begin(), some.end());
      }
      EXPECT_EQ(joined, expected) << problem.text() << " in parts of " << part;
    }
  });
}

TEST(Linear, adds_to_what_is_there) {
  for_all([](const Problem& problem) {
    std::vector<float> expected = problem.outputs(0, problem.rows);
    for (float& output : expected) output += 2.0F;
    EXPECT_EQ(problem.outputs(0, problem.rows, true), expected) << problem.text();
  });
}

TEST(Linear, what_is_not_finite_stays_in_its_row) {
  for (const Form& form : forms()) {
    Problem problem(form, 9, 70, 21);
    const std::vector<float> clean = problem.outputs(0, 9);
    problem.x[problem.at(4, 69)] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> found = problem.outputs(0, 9);
    for (size_t i = 0; i < found.size(); ++i) {
      if (i / 21 == 4) {
        EXPECT_TRUE(std::isnan(found[i])) << problem.text();
      } else {
        EXPECT_EQ(found[i], clean[i]) << problem.text();
      }
    }
  }
}

}  // namespace
}  // namespace hypenet::kernels
