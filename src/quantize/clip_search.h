// Scales of int4 groups by search: clipping a group's largest numbers makes the steps of all others
// finer (arXiv 2306.00978, section 3.2 and AutoAWQ's clip search).
#pragma once

#include <cstdint>
#include <span>

#include "lowbit/rounding.h"

namespace hypenet {

/// How a group's numbers become codes: w ~ (code - zero) scale.
struct GroupScale {
  float scale = 1;
  int32_t zero = 0;
};

/// The code of a number: the nearest under this scale, ties to even, -8 to 7, in float32 as
/// round_with of lowbit/rounding.h.
int8_t int4_code(double w, const GroupScale& scale);

/// The number that a code stands for.
inline double int4_value(int8_t code, const GroupScale& scale) {
  return (code - scale.zero) * static_cast<double>(scale.scale);
}

/// Of the scales for c max |w| (with zeros: c max w and c min w), c of 1, .95, .9, .85 and .8, the
/// one with the least sum_k importance_k (w_k - w~_k)^2; a larger c where two are equal. Without
/// `searches` c is 1. Scales are rounded to bfloat16 before.
GroupScale find_group_scale(std::span<const double> w, std::span<const double> importance,
                            bool has_zeros, bool searches = true);

/// find_group_scale of every group of weight [N, K], importance float64 [K] (mean squares of what
/// the columns are multiplied by): what round_with takes. form: kInt4 with groups that divide K.
RoundingScales search_scales(const Tensor& weight, const Tensor& importance,
                             const RoundingForm& form);

}  // namespace hypenet
