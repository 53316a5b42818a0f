// GPTQ beside its definition: the paper's equations 2 and 3, one column at a time, in float64.
#include "quantize/gptq.h"

#include <gtest/gtest.h>

#include <numeric>

#include "quantize/clip_search.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

constexpr int64_t kRows = 24, kColumns = 192, kGroup = 32;

/// X^T X / tokens of inputs that go together: 192 mixtures of 40 signals and a little noise.
Tensor correlated_products(int64_t columns = kColumns) {
  torch::manual_seed(11);
  const auto wide = torch::kFloat64;
  const Tensor signals = torch::randn({600, 40}, wide) * torch::linspace(0.2, 3, 40, wide);
  const Tensor x = torch::mm(signals, torch::randn({40, columns}, wide)) +
                   0.3 * torch::randn({600, columns}, wide);
  return torch::mm(x.t(), x) / 600;
}

Tensor weights() {
  torch::manual_seed(12);
  return torch::randn({kRows, kColumns});
}

RoundingForm int4(bool has_zeros = false) {
  return {.type = CodeType::kInt4, .group = kGroup, .has_zeros = has_zeros};
}

/// tr((W - W~) H (W - W~)^T): the square of what outputs are off by.
double output_error(const Tensor& weight, const QuantisedMatrix& matrix, const Tensor& hessian) {
  const Tensor off = weight.to(torch::kFloat64) - matrix.expand().to(torch::kFloat64);
  return (torch::mm(off, hessian) * off).sum().item<double>();
}

struct Definition {
  Tensor codes, values;  // [N, K]
};

/// The columns of `order` one by one. After each the rest makes up for its error (equation 2), and
/// the inverse of H loses the column (equation 3).
Definition gptq_definition(const Tensor& weight, const RoundingForm& form, Tensor hessian,
                           const GptqOptions& options, const std::vector<int64_t>& order) {
  const Tensor importance = hessian.diagonal().clone();
  hessian =
      hessian + options.damping * importance.mean() * torch::eye(hessian.size(0), torch::kFloat64);
  Tensor inverse = torch::inverse(hessian);
  Tensor w = weight.to(torch::kFloat64).clone();
  const RoundingScales all = search_scales(weight, importance, form);
  Definition result{torch::zeros(w.sizes(), torch::kInt8), torch::zeros_like(w)};
  const int64_t N = w.size(0), group = group_size(form, w.size(1));
  std::vector<std::vector<GroupScale>> scales(static_cast<size_t>(N));
  for (const int64_t k : order) {
    for (int64_t n = 0; n < N; ++n) {
      GroupScale scale;
      if (options.orders_columns) {
        scale = {all.scales[n][k / group].item<float>(),
                 form.has_zeros ? all.zeros[n][k / group].item<int16_t>() : 0};
      } else {
        auto& own = scales[static_cast<size_t>(n)];
        if (k % group == 0) {
          const Tensor part = w[n].slice(0, k, k + group).contiguous();
          const Tensor weights = importance.slice(0, k, k + group).contiguous();
          const auto size = static_cast<size_t>(group);
          own.push_back(find_group_scale({part.data_ptr<double>(), size},
                                         {weights.data_ptr<double>(), size}, form));
        }
        scale = own.back();
      }
      const int8_t code = nearest_code(form.type, w[n][k].item<double>(), scale);
      result.codes[n][k] = code;
      result.values[n][k] = code_value(form.type, code, scale);
    }
    const Tensor error = (w.select(1, k) - result.values.select(1, k)) / inverse[k][k];
    w -= torch::outer(error, inverse[k]);
    inverse = inverse - torch::outer(inverse.select(1, k), inverse[k]) / inverse[k][k];
  }
  return result;
}

/// Codes as code_value reads them, int8 [N, K].
Tensor codes_of(const QuantisedMatrix& matrix) {
  if (matrix.type == CodeType::kInt4) return unpack_int4(matrix.codes, matrix.columns);
  return matrix.codes.view(torch::kInt8);
}

std::string form_name(const RoundingForm& form, bool orders_columns) {
  return concat(code_type_name(form.type), form.has_zeros ? "_with_zeros" : "", "_group_",
                form.group, orders_columns ? "_ordered" : "");
}

class Gptq : public testing::TestWithParam<std::tuple<bool, RoundingForm>> {
 protected:
  bool orders_columns() const { return std::get<0>(GetParam()); }
  RoundingForm form() const { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(
    OrdersAndForms, Gptq,
    testing::Combine(testing::Bool(),
                     testing::Values(int4(false), int4(true),
                                     RoundingForm{.type = CodeType::kInt8, .group = kGroup},
                                     RoundingForm{.type = CodeType::kInt8},
                                     RoundingForm{.type = CodeType::kFloat8},
                                     RoundingForm{.type = CodeType::kFloat8, .group = 96})),
    [](const auto& info) { return form_name(std::get<1>(info.param), std::get<0>(info.param)); });

TEST_P(Gptq, codes_are_those_of_the_definition) {
  const Tensor weight = weights(), hessian = correlated_products();
  const GptqOptions options{.orders_columns = orders_columns()};
  std::vector<int64_t> order(kColumns);
  std::iota(order.begin(), order.end(), 0);
  if (orders_columns()) {
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [&](int64_t k) { return hessian[k][k].item<double>(); });
  }
  const GptqFactor factor = gptq_factor(hessian, options, "here");
  const QuantisedMatrix found = round_by_gptq(weight, form(), factor, options);
  const Definition expected = gptq_definition(weight, form(), hessian, options, order);
  EXPECT_TRUE(torch::equal(codes_of(found), expected.codes));
  EXPECT_TRUE(torch::equal(found.expand(), expected.values.to(torch::kFloat32)));
}

TEST_P(Gptq, outputs_are_nearer_than_those_of_nearest_and_of_searched_rounding) {
  const Tensor weight = weights(), hessian = correlated_products();
  const GptqOptions options{.orders_columns = orders_columns()};
  const QuantisedMatrix found =
      round_by_gptq(weight, form(), gptq_factor(hessian, options, "here"), options);
  const RoundingScales scales = search_scales(weight, hessian.diagonal().contiguous(), form());
  const double gptq = output_error(weight, found, hessian);
  EXPECT_LT(gptq, 0.5 * output_error(weight, round_to_nearest(weight, form()), hessian));
  EXPECT_LT(gptq, 0.5 * output_error(weight, round_with(weight, form(), scales), hessian));
}

TEST(GptqMatrix, where_inputs_are_independent_it_is_searched_rounding) {
  const Tensor weight = weights(), hessian = torch::eye(kColumns, torch::kFloat64);
  const QuantisedMatrix found = round_by_gptq(weight, int4(), gptq_factor(hessian, {}, "here"), {});
  const QuantisedMatrix expected = round_with(
      weight, int4(), search_scales(weight, torch::ones({kColumns}, torch::kFloat64), int4()));
  EXPECT_TRUE(torch::equal(found.codes, expected.codes));
  EXPECT_TRUE(torch::equal(found.scales, expected.scales));
}

TEST(GptqMatrix, groups_larger_than_a_block_and_inputs_that_are_always_zero) {
  torch::manual_seed(3);
  const int64_t columns = 512;
  Tensor hessian = correlated_products(columns);
  hessian.select(0, 7).zero_(), hessian.select(1, 7).zero_();
  const Tensor weight = torch::randn({4, columns});
  const RoundingForm form{.type = CodeType::kInt4, .group = 256};
  for (const bool orders_columns : {false, true}) {
    const GptqOptions options{.orders_columns = orders_columns};
    const QuantisedMatrix found =
        round_by_gptq(weight, form, gptq_factor(hessian, options, "here"), options);
    EXPECT_LT(output_error(weight, found, hessian),
              0.6 * output_error(weight, round_to_nearest(weight, form), hessian));
    // Of no use to anyone, it is still near what it was.
    EXPECT_LT((found.expand() - weight).select(1, 7).abs().max().item<float>(), 0.4);
  }
}

TEST(GptqMatrix, the_factor_of_many_ill_conditioned_inputs_is_that_of_float64) {
  const int64_t columns = 700;  // three levels of halves
  const Tensor hessian = correlated_products(columns);
  const Tensor upper = gptq_factor(hessian, {}, "here").upper.to(torch::kFloat64);
  const Tensor damped =
      hessian + 0.01 * hessian.diagonal().mean() * torch::eye(columns, torch::kFloat64);
  const Tensor off =
      torch::mm(torch::mm(upper.t(), upper), damped) - torch::eye(columns, torch::kFloat64);
  EXPECT_LT(off.abs().max().item<double>(), 1e-3);
  EXPECT_TRUE(torch::equal(upper, upper.triu()));
}

TEST(GptqMatrix, corrected_weights_are_those_nearest_to_the_original_outputs) {
  torch::manual_seed(14);
  const auto wide = torch::kFloat64;
  const Tensor original =
      torch::mm(torch::randn({600, 40}, wide), torch::randn({40, kColumns}, wide));
  const Tensor x = original + torch::randn_like(original);
  const Tensor hessian = torch::mm(x.t(), x) / 600, shift = torch::mm((original - x).t(), x) / 600;
  const Tensor weight = weights(), expected = torch::mm(original, weight.to(wide).t());
  const auto squares_off = [&](const Tensor& corrected) {
    const Tensor off = torch::mm(x, corrected.to(wide).t()) - expected;
    return off.square().sum().item<double>();
  };
  for (const bool orders_columns : {false, true}) {
    const GptqOptions options{.damping = 1e-6, .orders_columns = orders_columns};
    const GptqFactor factor = gptq_factor(hessian, options, "here");
    const Tensor least_squares = std::get<0>(at::linalg_lstsq(x, expected)).t();
    const Tensor whole = toward_original(weight, shift, factor, 1);
    EXPECT_LT((whole - least_squares).abs().max().item<double>(), 1e-3) << orders_columns;
    EXPECT_LT(squares_off(whole), 0.2 * squares_off(weight));
    const Tensor half = toward_original(weight, shift, factor, 0.5);
    EXPECT_LT((half - (weight + least_squares) / 2).abs().max().item<double>(), 1e-3);
  }
}

TEST(GptqMatrix, refuses_what_it_cannot_round) {
  Tensor hessian = correlated_products();
  const GptqFactor factor = gptq_factor(hessian, {}, "here");
  const RoundingForm form{.type = CodeType::kInt4, .group = 80};
  EXPECT_ERROR(round_by_gptq(weights(), form, factor, {}),
               "gptq: expected groups that divide 192 columns of one row, found 80 columns of 1");
  hessian[3][3] = NAN;
  EXPECT_ERROR(gptq_factor(hessian, {}, "layer 2"),
               "layer 2: expected inputs that are finite, found others");
  EXPECT_ERROR(gptq_factor(-torch::eye(8, torch::kFloat64), {}, "layer 2"),
               "layer 2: expected products of inputs that are positive definite, found others");
}

}  // namespace
}  // namespace hypenet
