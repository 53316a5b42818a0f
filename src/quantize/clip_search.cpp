// Rows are searched side by side; a group's sums are float64.
#include "quantize/clip_search.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

namespace hypenet {
namespace {

constexpr std::array<float, 5> kClips = {1, .95F, .9F, .85F, .8F};
constexpr int64_t kGrain = 8;  // rows a task at least

/// To the nearest integer, ties to even, of |x| below 2^22: adding 1.5 * 2^23 leaves no bits behind
/// the point. A loop of it is vectorised on every processor, one of std::nearbyint is not.
float nearest_integer(float x) {
  constexpr float kNoFraction = 12582912;
  return (x + kNoFraction) - kNoFraction;
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

/// The arithmetic is that of scales_of (lowbit/rounding.h).
GroupScale clipped_scale(const Bounds& bounds, float clip, bool has_zeros) {
  const auto stored = [](float scale) {
    const auto rounded = static_cast<float>(c10::BFloat16(scale));
    return rounded == 0 ? 1.F : rounded;
  };
  if (!has_zeros) return {stored(std::max(-bounds.least, bounds.most) * clip / 7), 0};
  const float least = bounds.least * clip, most = bounds.most * clip;
  const float scale = stored((most - least) / 15);
  return {scale, static_cast<int32_t>(std::clamp(nearest_integer(-least / scale), 0.F, 15.F)) - 8};
}

double weighted_error(std::span<const double> w, std::span<const double> importance,
                      const GroupScale& scale) {
  double sum = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    const double off = w[k] - int4_value(int4_code(w[k], scale), scale);
    sum += importance[k] * off * off;
  }
  return sum;
}

}  // namespace

int8_t int4_code(double w, const GroupScale& scale) {
  // Held to 64 first: beyond, any code is the last one, and the integer stays exact.
  const float divided = std::clamp(static_cast<float>(w) / scale.scale, -64.F, 64.F);
  const float code = nearest_integer(divided) + static_cast<float>(scale.zero);
  return static_cast<int8_t>(std::clamp(code, -8.F, 7.F));
}

GroupScale find_group_scale(std::span<const double> w, std::span<const double> importance,
                            bool has_zeros, bool searches) {
  const Bounds bounds = bounds_of(w);
  GroupScale best = clipped_scale(bounds, kClips.front(), has_zeros);
  if (!searches) return best;
  double least = std::numeric_limits<double>::infinity();
  for (const float clip : kClips) {
    const GroupScale scale = clipped_scale(bounds, clip, has_zeros);
    const double error = weighted_error(w, importance, scale);
    if (error < least) least = error, best = scale;
  }
  return best;
}

RoundingScales search_scales(const Tensor& weight, const Tensor& importance,
                             const RoundingForm& form) {
  const Tensor wide = weight.to(torch::kFloat64).contiguous();
  const int64_t N = wide.size(0), K = wide.size(1), group = form.group, groups = K / group;
  const Tensor scales = torch::empty({N, groups}, torch::kFloat32);
  const Tensor zeros = torch::empty({N, groups}, torch::kInt16);
  const double *const w = wide.const_data_ptr<double>(), *const a =
                                                             importance.const_data_ptr<double>();
  auto* const to_scale = scales.data_ptr<float>();
  auto* const to_zero = zeros.data_ptr<int16_t>();
  at::parallel_for(0, N, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * groups; i < end * groups; ++i) {
      const auto size = static_cast<size_t>(group);
      const GroupScale found =
          find_group_scale({w + i * group, size}, {a + i % groups * group, size}, form.has_zeros);
      to_scale[i] = found.scale, to_zero[i] = static_cast<int16_t>(found.zero);
    }
  });
  return {scales.to(form.scale_type), form.has_zeros ? zeros : Tensor()};
}

}  // namespace hypenet
