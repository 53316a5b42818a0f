// GPTQ (arXiv 2210.17323): columns are rounded one after the other, and what a rounding is off by
// is made up for in the columns that are still to come, as far as their inputs go together.
#pragma once

#include "lowbit/rounding.h"

namespace hypenet {

struct GptqOptions {
  double damping = 0.01;  // of the mean of H's diagonal, added to all of it
  /// The largest of H's diagonal first, under scales of the whole matrix.
  bool orders_columns = false;
  bool searches_clip = true;  // scales by find_group_scale's search, else of the largest number
  double correction = 0.25;   // share of what toward_original adds: GPTQModel's default
};

/// What every matrix that reads one input is rounded against.
struct GptqFactor {
  Tensor upper = {};       // float32 [K, K], U of (H + damping)^-1 = U^T U, in the order of `order`
  Tensor importance = {};  // float64 [K]: H's diagonal, in the columns' own order
  Tensor order = {};       // int64 [K]: which column comes when; undefined: as they stand
};

/// Of H float64 [K, K] = X^T X / tokens, or any multiple. Throws Error, beginning with `place`,
/// where H has numbers that are not finite. Time O(K^3).
GptqFactor gptq_factor(const Tensor& hessian, const GptqOptions& options, const std::string& place);

/// float32 [N, K], W + correction W C H^-1, where `shift` is C = (X_original - X)^T X, divided by
/// what the H = X^T X of gptq_factor was divided by. With a correction of 1 these are, but for the
/// damping, the weights whose outputs for the inputs X of a quantised model are nearest to those of
/// W in the original one (the aim of GPTAQ, arXiv 2504.02692, reached before any rounding).
Tensor toward_original(const Tensor& weight, const Tensor& shift, const GptqFactor& factor,
                       double correction);

/// weight [N, K] in a form whose groups divide K or are all columns of a row. Without an order of
/// its own a group's scale is found when its first column is due, from what the columns have become
/// by then (section 4, "grouping"). Sums are float64 within a block of columns; what a block
/// changes behind it is a product in float32. Time O(N K^2).
QuantisedMatrix round_by_gptq(const Tensor& weight, const RoundingForm& form,
                              const GptqFactor& factor, const GptqOptions& options);

}  // namespace hypenet
