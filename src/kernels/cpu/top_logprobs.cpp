// Most blocks of a row have no token that is likely enough: their maximum says so.
#include "kernels/top_logprobs.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/vectorize.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t kBlock = 1024;

HYPENET_VECTORIZED
float largest(const float* x, int64_t n) {
  float max = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : max)
  for (int64_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

/// The likeliest tokens so far, downwards; of equals the first.
struct Top {
  int64_t asked = 0, count = 0;
  float logits[kMostTop] = {};
  int32_t ids[kMostTop] = {};

  bool takes(float x) const { return count < asked || x > logits[count - 1]; }

  /// Tokens come ascending.
  void include(float x, int32_t id) {
    int64_t place = count < asked ? count++ : count - 1;
    for (; place > 0 && x > logits[place - 1]; --place) {
      logits[place] = logits[place - 1], ids[place] = ids[place - 1];
    }
    logits[place] = x, ids[place] = id;
  }
};

void top_row(const TopLogprobsParams& p, int64_t row) {
  int32_t* const ids = p.top_ids + row * kMostTop;
  float* const logprobs = p.top_logprobs + row * kMostTop;
  std::fill_n(ids, kMostTop, -1), std::fill_n(logprobs, kMostTop, 0.0F);
  Top top{.asked = top_of_row(p, row)};
  if (top.asked <= 0) return;
  const float* const x = p.logits + row * p.vocabulary;
  for (int64_t first = 0; first < p.vocabulary; first += kBlock) {
    const int64_t end = std::min(first + kBlock, p.vocabulary);
    if (!top.takes(largest(x + first, end - first))) continue;
    for (int64_t i = first; i < end; ++i) {
      if (top.takes(x[i])) top.include(x[i], static_cast<int32_t>(i));
    }
  }
  for (int64_t i = 0; i < top.asked; ++i) {
    ids[i] = top.ids[i];
    logprobs[i] = (top.logits[i] - top.logits[0]) - p.log_sums[row];
  }
}

}  // namespace

void top_logprobs(const TopLogprobsParams& params, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) top_row(params, row);
}

}  // namespace hypenet::kernels
