// Some columns of a head's state at a time: no column reads another, so each passes through all
// tokens while it stays in the first-level cache, and what a token writes stays in registers.
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/lanes.h"
#include "kernels/recurrence.h"

namespace hypenet::kernels {
namespace {

/// What a token brings to columns of a head's state.
struct Token {
  const float *q, *k, *v;     // [dk], [dk], the columns' part of [dv]
  const float *kept, *faded;  // [dk]: exp(-decay), and k times it
  float beta;
  float *state, *o;   // at the first column
  int64_t state_row;  // floats from a row of the state to the next
};

/// S <- D S, S <- S + k^T beta (v - [is_delta] k S) and o = scale q S in kVectors L columns.
template <int L, int kVectors>
HYPENET_INLINE void advance_columns(const RecurrenceTokensParams& p, const Token& t) {
  Vector<L> values[kVectors], sums[kVectors] = {};
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) load(t.v + j * L, values[j]);
  if (p.is_delta) {
    const float* row = t.state;
    for (int64_t i = 0; i < p.key_size; ++i, row += t.state_row) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Vector<L> state;
        load(row + j * L, state);
        sums[j] += t.faded[i] * state;
      }
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) {
    values[j] = t.beta * (values[j] - sums[j]);
    sums[j] = Vector<L>{};
  }
  float* row = t.state;
  for (int64_t i = 0; i < p.key_size; ++i, row += t.state_row) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      Vector<L> state;
      load(row + j * L, state);
      state = t.kept[i] * state + t.k[i] * values[j];
      store(state, row + j * L);
      sums[j] += t.q[i] * state;
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) store(p.scale * sums[j], t.o + j * L);
}

HYPENET_INLINE void copy_rows(const float* from, int64_t from_row, int64_t rows, int64_t columns,
                              float* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * to_row, from + i * from_row, static_cast<size_t>(columns) * sizeof(float));
  }
}

/// Rows of one head in columns begin .. end - 1, at most 4 L. Those of a sequence's state are
/// packed meanwhile: in their place, a power of two apart, they share few sets of the cache.
template <int L>
HYPENET_INLINE void columns(const RecurrenceTokensParams& p, int64_t head, int64_t begin,
                            int64_t end, float* scratch) {
  const int64_t K = p.key_size, V = p.value_size, width = end - begin;
  float *const kept = scratch, *const faded = scratch + K, *const packed = faded + K;
  const auto state_of = [&](int64_t slot) {
    return p.states + (slot * p.heads + head) * K * V + begin;
  };
  const int64_t sequence = p.first_row / p.rows;
  const bool is_packed = p.slots == nullptr && p.rows > 1;
  if (is_packed) copy_rows(state_of(sequence), V, K, width, packed, width);
  for (int64_t row = p.first_row; row < p.first_row + p.rows; ++row) {
    const int64_t at = row * p.heads + head;
    const int64_t slot = p.slots != nullptr ? p.slots[row] : sequence;
    float* const o = p.output + at * V;
    if (slot < 0) {
      for (int64_t j = begin; j < end; ++j) o[j] = 0;
      continue;
    }
    const float *const k = p.k + at * K, *const decay = p.decay + at * p.decay_size;
    if (p.decay_size == 1) {
      const float all = exponential(-decay[0]);
      for (int64_t i = 0; i < K; ++i) kept[i] = all;
    } else {
      for (int64_t i = 0; i < K; ++i) kept[i] = exponential(-decay[i]);
    }
    for (int64_t i = 0; i < K; ++i) faded[i] = kept[i] * k[i];
    Token token{.q = p.q + at * K,
                .k = k,
                .v = p.v + at * V + begin,
                .kept = kept,
                .faded = faded,
                .beta = p.beta != nullptr ? p.beta[at] : 1.0F,
                .state = is_packed ? packed : state_of(slot),
                .o = o + begin,
                .state_row = is_packed ? width : V};
    if (width == 4 * L) {
      advance_columns<L, 4>(p, token);
      continue;
    }
    for (int64_t j = begin; j < end; j += 4) {
      advance_columns<4, 1>(p, token);
      token.v += 4, token.state += 4, token.o += 4;
    }
  }
  if (is_packed) copy_rows(packed, width, K, width, state_of(sequence), V);
}

template <int L>
HYPENET_INLINE void all_columns(const RecurrenceTokensParams& p, int64_t head, float* scratch) {
  for (int64_t j = 0; j < p.value_size; j += 4 * L) {
    columns<L>(p, head, j, j + 4 * L < p.value_size ? j + 4 * L : p.value_size, scratch);
  }
}

HYPENET_16_LANES void all_columns_16(const RecurrenceTokensParams& p, int64_t head,
                                     float* scratch) {
  all_columns<16>(p, head, scratch);
}
HYPENET_8_LANES void all_columns_8(const RecurrenceTokensParams& p, int64_t head, float* scratch) {
  all_columns<8>(p, head, scratch);
}

}  // namespace

void recurrence_tokens(const RecurrenceTokensParams& params, int64_t head, float* scratch) {
  if (lanes() == 16) return all_columns_16(params, head, scratch);
  if (lanes() == 8) return all_columns_8(params, head, scratch);
  all_columns<4>(params, head, scratch);
}

}  // namespace hypenet::kernels
