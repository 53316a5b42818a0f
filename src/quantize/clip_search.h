// Scales of groups by search: clipping a group's largest numbers makes the steps of all others
// finer (arXiv 2306.00978, section 3.2 and AutoAWQ's clip search).
#pragma once

#include <cstdint>
#include <span>

#include "lowbit/rounding.h"

namespace hypenet {

/// How a group's numbers become codes: w ~ (code - zero) scale.
struct GroupScale {
  float scale = 1;
  int32_t zero = 0;  // of kInt4 alone
};

/// The code of a number: the nearest under this scale, ties to even, in float32 as round_with of
/// lowbit/rounding.h. kInt4: -8 to 7; kInt8: -127 to 127; kFloat8: the bits of e4m3fn.
int8_t nearest_code(CodeType type, double w, const GroupScale& scale);

/// The number that a code stands for.
double code_value(CodeType type, int8_t code, const GroupScale& scale);

/// Of the scales for c max |w| (with zeros: c max w and c min w), c of 1, .95, .9, .85 and .8, the
/// one with the least sum_k importance_k (w_k - w~_k)^2; a larger c where two are equal. kInt4
/// without zeros has five more, -c w / 8 for the w that is farthest from 0: it meets the code -8,
/// so steps are finer by an eighth, and the scale is below 0 where w is above. Without `searches` c
/// is 1, and these are not tried. Scales are rounded to bfloat16 before. Of the form type and zeros
/// count.
GroupScale find_group_scale(std::span<const double> w, std::span<const double> importance,
                            const RoundingForm& form, bool searches = true);

/// find_group_scale of every group of weight [N, K], importance float64 [K] (mean squares of what
/// the columns are multiplied by): what round_with takes. form: groups that divide K, or 0.
RoundingScales search_scales(const Tensor& weight, const Tensor& importance,
                             const RoundingForm& form);

/// What round_to_nearest makes of weight [N, K], expanded to float32: in one pass, without codes.
/// form as in search_scales.
Tensor nearest_values(const Tensor& weight, const RoundingForm& form);

/// Columns of a group of a matrix with K.
inline int64_t group_size(const RoundingForm& form, int64_t K) {
  return form.group == 0 ? K : form.group;
}

}  // namespace hypenet
