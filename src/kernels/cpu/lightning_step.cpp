// Some columns of a head's state at a time: their outputs stay in registers, and they themselves in
// the first-level cache while all rows of their slot pass by.
#include "kernels/lightning_step.h"

#include <cmath>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/lanes.h"

namespace hypenet::kernels {
namespace {

const float* floats(const void* x) { return static_cast<const float*>(x); }

template <class W>
HYPENET_INLINE void norm_row(const float* x, const W* weight, int64_t size, float eps, float* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += x[i] * x[i];
  const float inverse = 1.0F / std::sqrt(sum / static_cast<float>(size) + eps);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] = x[i] * inverse * wide(weight[i]);
}

/// A head of q or k, normed and rotated, times `scale`.
HYPENET_INLINE void prepare(const LightningStepParams& p, const float* x, const void* weight,
                            int64_t row, float scale, float* y) {
  const int64_t size = p.size, half = size / 2;
  if (weight == nullptr) {
    for (int64_t i = 0; i < size; ++i) y[i] = x[i];
  } else if (p.weight_type == DType::kBFloat16) {
    norm_row(x, static_cast<const BFloat16*>(weight), size, p.eps, y);
  } else {
    norm_row(x, static_cast<const float*>(weight), size, p.eps, y);
  }
  if (p.cos != nullptr) {
    const float* const cos = p.cos + row * p.angle_row;
    const float* const sin = p.sin + row * p.angle_row;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = y[i], b = y[half + i];
      y[i] = a * cos[i] - b * sin[i];
      y[half + i] = b * cos[i] + a * sin[i];
    }
  }
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] *= scale;
}

/// What a token brings to the state [d, d] of a head, and where its output goes.
struct Token {
  const float *q, *k, *v;
  float gamma;
  int64_t size;
  float *state, *o;
};

/// S <- gamma S + k^T v and o = q S in kVectors L columns from `column`.
template <int L, int kVectors>
HYPENET_INLINE void advance_columns(const Token& t, int64_t column) {
  Vector<L> values[kVectors], sums[kVectors] = {};
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) load(t.v + column + j * L, values[j]);
  float* row = t.state + column;
  for (int64_t i = 0; i < t.size; ++i, row += t.size) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      Vector<L> state;
      load(row + j * L, state);
      state = t.gamma * state + t.k[i] * values[j];
      store(state, row + j * L);
      sums[j] += t.q[i] * state;
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) store(sums[j], t.o + column + j * L);
}

/// All rows in columns begin .. end - 1, at most 4 L, of a head's states.
template <int L>
HYPENET_INLINE void columns(const LightningStepParams& p, int64_t head, int64_t begin, int64_t end,
                            float* scratch) {
  const int64_t size = p.size, key_head = head / (p.heads / p.key_heads);
  const float gamma = std::exp(-p.decay[head]);
  float *const q = scratch, *const k = scratch + size;
  for (int64_t row = 0; row < p.rows; ++row) {
    const int64_t key = (row * p.key_heads + key_head) * size;
    float* const o = static_cast<float*>(p.o) + (row * p.heads + head) * size;
    const int64_t slot = p.slots != nullptr ? p.slots[row] : row;
    if (slot < 0) {
      for (int64_t j = begin; j < end; ++j) o[j] = 0;
      continue;
    }
    prepare(p, floats(p.q) + (row * p.heads + head) * size, p.q_weight, row, p.scale, q);
    prepare(p, floats(p.k) + key, p.k_weight, row, 1, k);
    const Token token{.q = q,
                      .k = k,
                      .v = floats(p.v) + key,
                      .gamma = gamma,
                      .size = size,
                      .state = p.state + (slot * p.heads + head) * size * size,
                      .o = o};
    if (end - begin == 4 * L) {
      advance_columns<L, 4>(token, begin);
    } else {
      for (int64_t j = begin; j < end; j += 4) advance_columns<4, 1>(token, j);
    }
  }
}

template <int L>
HYPENET_INLINE void heads(const LightningStepParams& p, int64_t begin, int64_t end,
                          float* scratch) {
  for (int64_t head = begin; head < end; ++head) {
    for (int64_t j = 0; j < p.size; j += 4 * L) {
      columns<L>(p, head, j, j + 4 * L < p.size ? j + 4 * L : p.size, scratch);
    }
  }
}

HYPENET_16_LANES void heads_16(const LightningStepParams& p, int64_t begin, int64_t end,
                               float* scratch) {
  heads<16>(p, begin, end, scratch);
}
HYPENET_8_LANES void heads_8(const LightningStepParams& p, int64_t begin, int64_t end,
                             float* scratch) {
  heads<8>(p, begin, end, scratch);
}

}  // namespace

void lightning_step(const LightningStepParams& params, int64_t begin, int64_t end, float* scratch) {
  if (lanes() == 16) return heads_16(params, begin, end, scratch);
  if (lanes() == 8) return heads_8(params, begin, end, scratch);
  heads<4>(params, begin, end, scratch);
}

}  // namespace hypenet::kernels
