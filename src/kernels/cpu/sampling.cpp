// Passes over the whole row are vector code; what is left of it after eight bits of the keys are
// known is short.
#include "kernels/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/gumbel.h"

namespace hypenet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 1024;  // elements whose weights or bounds are known at once

/// The largest of x; +infinity when one of them is NaN.
HYPENET_VECTORIZED
float largest(const float* x, int64_t n) {
  float max = -kInfinity;
  int is_finite = 1;
#pragma omp simd reduction(max : max) reduction(& : is_finite)
  for (int64_t i = 0; i < n; ++i) {
    is_finite &= x[i] < kInfinity ? 1 : 0;
    max = x[i] > max ? x[i] : max;
  }
  return is_finite != 0 ? max : kInfinity;
}

HYPENET_VECTORIZED
double sum_exponentials(const float* x, int64_t n, float max) {
  // In blocks: a float that sums half a million small terms one by one loses their last bits.
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; ++i) sum += exponential(x[i] - max);
    total += static_cast<double>(sum);
  }
  return total;
}

HYPENET_VECTORIZED
void form_keys(const float* x, int64_t n, float max, float inverse, uint32_t* keys) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) keys[i] = distance_key((max - x[i]) * inverse);
}

/// Probabilities against the likeliest's.
HYPENET_VECTORIZED
void form_probabilities(const uint32_t* keys, int64_t n, float* probabilities) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    probabilities[i] = exponential(-static_cast<float>(keys[i]) * kKeyUnit);
  }
}

/// u exp(distance) of tokens first .. first + n - 1: no more than exp(-(noise - distance)).
HYPENET_VECTORIZED
void form_bounds(const uint32_t* keys, int64_t first, int64_t n, uint64_t key_of_draw,
                 float* bounds) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    bounds[i] = draw_uniform(key_of_draw, static_cast<int32_t>(first + i)) *
                exponential(static_cast<float>(keys[i]) * kKeyUnit);
  }
}

/// Weights of a count: each key's is 1.
void add_counts(const std::vector<uint32_t>& keys, int shift, uint64_t (&sums)[256]) {
  for (const uint32_t key : keys) ++sums[key >> shift & 0xFF];
}

/// Weights of a mass: probabilities.
void add_masses(const std::vector<uint32_t>& keys, int shift, uint64_t (&sums)[256]) {
  float probabilities[kBlock];
  const auto n = static_cast<int64_t>(keys.size());
  for (int64_t first = 0; first < n; first += kBlock) {
    const uint32_t* const block = keys.data() + first;
    const int64_t count = std::min(kBlock, n - first);
    form_probabilities(block, count, probabilities);
    for (int64_t i = 0; i < count; ++i) {
      sums[block[i] >> shift & 0xFF] += static_cast<uint64_t>(probabilities[i] * kMassOfLikeliest);
    }
  }
}

/// The largest key that stays: of these keys, ascending, the last of those whose weights are needed
/// for a sum, which is needed_of(the sum of all). Eight bits at a time.
template <class Add, class Needed>
uint32_t walk(std::vector<uint32_t> keys, const Add& add, const Needed& needed_of) {
  uint32_t prefix = 0;
  uint64_t needed = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    uint64_t sums[256] = {};
    add(keys, shift, sums);
    if (shift == 24) {
      uint64_t total = 0;
      for (const uint64_t sum : sums) total += sum;
      needed = needed_of(total);
    }
    uint32_t bin = 0;
    while (needed > sums[bin]) needed -= sums[bin++];
    prefix |= bin << shift;
    if (needed == sums[bin]) return prefix | ((1U << shift) - 1);  // the whole bin stays
    std::erase_if(keys, [&](uint32_t key) { return (key >> shift & 0xFF) != bin; });
  }
  return prefix;
}

/// The largest key that top-k, top-p and min-p leave.
uint32_t limit_keys(const SampleParams& p, int32_t slot, const std::vector<uint32_t>& keys) {
  uint32_t limit = kNeverDrawn;
  const int32_t top_k = p.settings[slot].top_k;
  const float top_p = p.settings[slot].top_p;
  if (top_k > 0 && top_k < p.vocabulary) {
    limit = walk(keys, add_counts, [&](uint64_t) { return static_cast<uint64_t>(top_k); });
  }
  if (top_p < 1) {
    std::vector<uint32_t> left;
    std::ranges::copy_if(keys, std::back_inserter(left),
                         [&](uint32_t key) { return key <= limit; });
    limit = std::min(limit, walk(std::move(left), add_masses,
                                 [&](uint64_t total) { return needed_mass(top_p, total); }));
  }
  return std::min(limit, distance_key(-std::log(p.settings[slot].min_p)));
}

/// The arg max of -distance + noise over keys <= limit. A token's logarithms are taken only when
/// its bound says that it may win.
int32_t draw(const std::vector<uint32_t>& keys, uint32_t limit, uint64_t key_of_draw) {
  float bounds[kBlock];
  float best = -kInfinity, bar = kInfinity;
  int64_t token = 0;
  const auto n = static_cast<int64_t>(keys.size());
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    form_bounds(keys.data() + first, first, count, key_of_draw, bounds);
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t key = keys[first + i];
      if (!(bounds[i] < bar) || key > limit || key == kNeverDrawn) continue;
      const float u = draw_uniform(key_of_draw, static_cast<int32_t>(first + i));
      const float noise = -std::log(-std::log1p(-u));
      const float score = noise - static_cast<float>(key) * kKeyUnit;
      if (!(score > best)) continue;
      best = score, token = first + i;
      bar = std::exp(-score) * 1.0001F;  // room for what is rounded
    }
  }
  return static_cast<int32_t>(token);
}

void add_repetition(const SampleParams& p, int32_t slot, std::vector<float>& x) {
  const float penalty = p.settings[slot].repetition_penalty;
  const int64_t words = (p.vocabulary + 31) / 32;
  for (int64_t word = 0; word < words; ++word) {
    auto bits = static_cast<uint32_t>(p.seen[slot * words + word]);
    for (; bits != 0; bits &= bits - 1) {
      float& logit = x[word * 32 + std::countr_zero(bits)];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
}

HYPENET_VECTORIZED
void subtract_counted(const int16_t* counts, int64_t n, float presence, float frequency, float* x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] -= counted_penalty(presence, frequency, counts[i]);
}

void add_biases(const SampleParams& p, int32_t slot, std::vector<float>& x) {
  for (int64_t i = slot * p.biases; i < (slot + 1) * p.biases; ++i) {
    const int32_t token = p.bias_ids[i];
    if (token >= 0 && token < p.vocabulary) x[token] += p.bias[i];
  }
}

/// Tokens outside the mask become -infinity.
HYPENET_VECTORIZED
void apply_mask(const int32_t* words, int64_t n, float* x) {
  for (int64_t first = 0; first < n; first += 32) {
    const auto bits = static_cast<uint32_t>(words[first / 32]);
    const auto count = static_cast<int32_t>(std::min(n - first, int64_t{32}));
    // Both are there to be selected from: a branch a token would be guessed wrong.
#pragma omp simd
    for (int32_t i = 0; i < count; ++i) {
      const float kept = x[first + i];
      x[first + i] = (bits >> i & 1U) != 0 ? kept : -kInfinity;
    }
  }
}

void apply_bans(const SampleParams& p, int32_t slot, std::vector<float>& x) {
  for (int64_t i = slot * p.bans; i < (slot + 1) * p.bans; ++i) {
    const int32_t token = p.ban_ids[i];
    if (token >= 0 && token < p.vocabulary) x[token] = -kInfinity;
  }
}

const int32_t* mask_of(const SampleParams& p, int64_t row) {
  const int32_t mask = p.mask_of_row == nullptr ? -1 : p.mask_of_row[row];
  return mask < 0 ? nullptr : p.masks + mask * ((p.vocabulary + 31) / 32);
}

bool has_bans(const SampleParams& p, int32_t slot) {
  return p.draws[slot] < p.settings[slot].min_tokens;
}

bool has_changes(const SampleParams& p, int64_t row, int32_t slot) {
  const int32_t* const ids = p.bias_ids + slot * p.biases;
  return p.settings[slot].repetition_penalty != 1.0F || has_counts(p, p.settings[slot]) ||
         has_bans(p, slot) || mask_of(p, row) != nullptr ||
         std::any_of(ids, ids + p.biases, [](int32_t id) { return id >= 0; });
}

/// The row's logits as they are chosen from.
std::vector<float> changed_logits(const SampleParams& p, int64_t row, int32_t slot) {
  const SampleSettings& settings = p.settings[slot];
  const int64_t V = p.vocabulary;
  std::vector<float> x(p.logits + row * V, p.logits + (row + 1) * V);
  if (settings.repetition_penalty != 1.0F) add_repetition(p, slot, x);
  if (has_counts(p, settings)) {
    subtract_counted(p.counts + slot * counts_stride(V), V, settings.presence_penalty,
                     settings.frequency_penalty, x.data());
  }
  add_biases(p, slot, x);
  if (const int32_t* const mask = mask_of(p, row)) apply_mask(mask, V, x.data());
  if (has_bans(p, slot)) apply_bans(p, slot, x);
  return x;
}

/// Whether a row with this maximum has a token to choose: a vector's maximum may begin at the
/// lowest number, also where all of the row is -infinity.
bool is_usable(float max) { return max < kInfinity && max > std::numeric_limits<float>::lowest(); }

/// What the slot remembers of its choice.
void remember(const SampleParams& p, int32_t slot, int32_t token) {
  p.draws[slot] += 1;
  p.seen[slot * ((p.vocabulary + 31) / 32) + token / 32] |=
      static_cast<int32_t>(1U << (token % 32));
  if (!has_counts(p, p.settings[slot])) return;
  int16_t& count = p.counts[slot * counts_stride(p.vocabulary) + token];
  if (count < kMostCounted) ++count;
}

void sample_row(const SampleParams& p, int64_t row) {
  p.ids[row] = 0, p.logprobs[row] = 0, p.log_sums[row] = 0;
  const int32_t slot = p.slots[row];
  if (slot < 0) return;
  const int64_t V = p.vocabulary;
  const float *const logits = p.logits + row * V, *x = logits;
  const float raw_max = largest(logits, V);
  float max = raw_max;
  std::vector<float> changed;
  if (is_usable(raw_max) && has_changes(p, row, slot)) {
    changed = changed_logits(p, row, slot);
    x = changed.data();
    max = largest(x, V);
  }
  if (!is_usable(max)) {
    p.ids[row] = is_usable(raw_max) && max < kInfinity ? kIdNoToken : kIdNotFinite;
    return;
  }
  int32_t token = 0;
  if (p.settings[slot].temperature > 0) {
    std::vector<uint32_t> keys(V);
    form_keys(x, V, max, inverse_temperature(p.settings[slot].temperature), keys.data());
    token = draw(keys, limit_keys(p, slot, keys), draw_key(p.settings[slot].seed, p.draws[slot]));
  } else {
    token = static_cast<int32_t>(std::find(x, x + V, max) - x);
  }
  p.ids[row] = token;
  p.log_sums[row] = static_cast<float>(std::log(sum_exponentials(logits, V, raw_max)));
  p.logprobs[row] = (logits[token] - raw_max) - p.log_sums[row];
  remember(p, slot, token);
}

}  // namespace

void sample_tokens(const SampleParams& params, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) sample_row(params, row);
}

}  // namespace hypenet::kernels
