// Rows are searched side by side; a group's sums are float64. What is done number by number is
// compiled once for each type of code.
#include "quantize/clip_search.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Float8_e4m3fn.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr std::array<float, 5> kClips = {1, .95F, .9F, .85F, .8F};
constexpr int64_t kGrain = 8;  // rows a task at least

/// compute(integral_constant of the type).
template <typename Compute>
auto by_type(CodeType type, const Compute& compute) {
  switch (type) {
    case CodeType::kInt4:
      return compute(std::integral_constant<CodeType, CodeType::kInt4>());
    case CodeType::kInt8:
      return compute(std::integral_constant<CodeType, CodeType::kInt8>());
    case CodeType::kFloat8:
      return compute(std::integral_constant<CodeType, CodeType::kFloat8>());
  }
  throw Error("code type: expected one of CodeType");
}

/// To the nearest integer, ties to even, of |x| below 2^22: adding 1.5 * 2^23 leaves no bits behind
/// the point. A loop of it is vectorised on every processor, one of std::nearbyint is not.
float nearest_integer(float x) {
  constexpr float kNoFraction = 12582912;
  return (x + kNoFraction) - kNoFraction;
}

constexpr float last_code(CodeType type) {
  if (type == CodeType::kFloat8) return 448;
  return type == CodeType::kInt4 ? 7 : 127;
}

/// The code as a number: of kFloat8 what it stands for.
template <CodeType type>
float rounded(double w, const GroupScale& scale) {
  const float divided = static_cast<float>(w) / scale.scale;
  if constexpr (type == CodeType::kFloat8) {
    return static_cast<float>(c10::Float8_e4m3fn(std::clamp(divided, -448.F, 448.F)));
  } else {
    // Held first: beyond, any code is the last one, and the integer stays exact.
    constexpr float kFar = 1024, kLast = last_code(type),
                    kFirst = type == CodeType::kInt4 ? -8 : -127;
    const float code = nearest_integer(std::clamp(divided, -kFar, kFar));
    return std::clamp(code + static_cast<float>(scale.zero), kFirst, kLast);
  }
}

/// What a number becomes.
template <CodeType type>
double nearest_value(double w, const GroupScale& scale) {
  return (rounded<type>(w, scale) - static_cast<float>(scale.zero)) *
         static_cast<double>(scale.scale);
}

struct Bounds {
  float least = 0, most = 0;  // 0 lies between them
};

Bounds bounds_of(std::span<const double> w) {
  Bounds bounds;
  for (const double value : w) {
    bounds.least = std::min(bounds.least, static_cast<float>(value));
    bounds.most = std::max(bounds.most, static_cast<float>(value));
  }
  return bounds;
}

float stored_scale(float scale) {
  const auto rounded = static_cast<float>(c10::BFloat16(scale));
  return rounded == 0 ? 1.F : rounded;
}

/// The arithmetic is that of scales_of (lowbit/rounding.h).
GroupScale clipped_scale(const Bounds& bounds, float clip, const RoundingForm& form) {
  if (!form.has_zeros) {
    return {stored_scale(std::max(-bounds.least, bounds.most) * clip / last_code(form.type)), 0};
  }
  const float least = bounds.least * clip, most = bounds.most * clip;
  const float scale = stored_scale((most - least) / 15);
  return {scale, static_cast<int32_t>(std::clamp(nearest_integer(-least / scale), 0.F, 15.F)) - 8};
}

/// int4 without zeros has a code more below 0 than above it: the sign of this scale gives it to the
/// side that reaches farther, whose last code is then -8.
GroupScale scale_of_eight(const Bounds& bounds, float clip) {
  const float farther = bounds.most > -bounds.least ? bounds.most : bounds.least;
  return {stored_scale(-farther * clip / 8), 0};
}

template <CodeType type>
double weighted_error(std::span<const double> w, std::span<const double> importance,
                      const GroupScale& scale) {
  double sum = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    const double off = w[k] - nearest_value<type>(w[k], scale);
    sum += importance[k] * off * off;
  }
  return sum;
}

/// use(index, numbers) of each group of each row of weight [N, K], rows side by side; `index`
/// counts the matrix's groups.
template <typename Use>
void for_each_group(const Tensor& weight, int64_t group, const Use& use) {
  const Tensor wide = weight.to(torch::kFloat64).contiguous();
  const int64_t N = wide.size(0), groups = wide.size(1) / group;
  const double* const w = wide.const_data_ptr<double>();
  at::parallel_for(0, N, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * groups; i < end * groups; ++i) {
      use(i, std::span<const double>(w + i * group, static_cast<size_t>(group)));
    }
  });
}

}  // namespace

int8_t nearest_code(CodeType type, double w, const GroupScale& scale) {
  return by_type(type, [&](auto constant) {
    const float code = rounded<decltype(constant)::value>(w, scale);
    if (type == CodeType::kFloat8) return std::bit_cast<int8_t>(c10::Float8_e4m3fn(code).x);
    return static_cast<int8_t>(code);
  });
}

double code_value(CodeType type, int8_t code, const GroupScale& scale) {
  if (type != CodeType::kFloat8) return (code - scale.zero) * static_cast<double>(scale.scale);
  return c10::detail::fp8e4m3fn_to_fp32_value(std::bit_cast<uint8_t>(code)) *
         static_cast<double>(scale.scale);
}

GroupScale find_group_scale(std::span<const double> w, std::span<const double> importance,
                            const RoundingForm& form, bool searches) {
  const Bounds bounds = bounds_of(w);
  GroupScale best = clipped_scale(bounds, kClips.front(), form);
  if (!searches) return best;
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](const GroupScale& scale) {
    const double error = by_type(form.type, [&](auto constant) {
      return weighted_error<decltype(constant)::value>(w, importance, scale);
    });
    if (error < least) least = error, best = scale;
  };
  const bool has_eight = form.type == CodeType::kInt4 && !form.has_zeros;
  for (const float clip : kClips) {
    consider(clipped_scale(bounds, clip, form));
    if (has_eight) consider(scale_of_eight(bounds, clip));
  }
  return best;
}

RoundingScales search_scales(const Tensor& weight, const Tensor& importance,
                             const RoundingForm& form) {
  const int64_t group = group_size(form, weight.size(1)), groups = weight.size(1) / group;
  const Tensor scales = torch::empty({weight.size(0), groups}, torch::kFloat32);
  const Tensor zeros = torch::empty({weight.size(0), groups}, torch::kInt16);
  const double* const a = importance.const_data_ptr<double>();
  auto* const to_scale = scales.data_ptr<float>();
  auto* const to_zero = zeros.data_ptr<int16_t>();
  for_each_group(weight, group, [&](int64_t i, std::span<const double> w) {
    const GroupScale found = find_group_scale(w, {a + i % groups * group, w.size()}, form);
    to_scale[i] = found.scale, to_zero[i] = static_cast<int16_t>(found.zero);
  });
  return {scales.to(form.scale_type), form.has_zeros ? zeros : Tensor()};
}

Tensor nearest_values(const Tensor& weight, const RoundingForm& form) {
  const int64_t group = group_size(form, weight.size(1));
  const Tensor values = torch::empty({weight.size(0), weight.size(1)}, torch::kFloat32);
  auto* const to = values.data_ptr<float>();
  for_each_group(weight, group, [&](int64_t i, std::span<const double> w) {
    const GroupScale scale = clipped_scale(bounds_of(w), kClips.front(), form);
    by_type(form.type, [&](auto constant) {
      for (size_t k = 0; k < w.size(); ++k) {
        to[i * group + static_cast<int64_t>(k)] =
            static_cast<float>(nearest_value<decltype(constant)::value>(w[k], scale));
      }
    });
  });
  return values;
}

}  // namespace hypenet
