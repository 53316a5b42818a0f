// A chunk is packed into contiguous rows, a multiple of 16 of them; what lies above the diagonal is
// skipped by blocks.
#include "kernels/recurrence.h"

#include <cmath>

#include "kernels/cpu/tile.h"

namespace hypenet::kernels {
namespace {

constexpr int64_t C = kRecurrenceChunk;
constexpr int64_t kBlock = 16;

/// Powers of gamma = exp(-decay): power[n] = gamma^n, and lag[C + j - i] = gamma^(i - j) where j <=
/// i, else 0.
struct Decay {
  HYPENET_INLINE explicit Decay(double decay) {
    for (int64_t n = 0; n <= C; ++n) power[n] = static_cast<float>(std::exp(-decay * n));
    for (int64_t x = 0; x < 2 * C; ++x) lag[x] = x <= C ? power[C - x] : 0.0F;
  }
  float power[C + 1];
  float lag[2 * C];
};

/// One chunk in scratch memory; `padded` rows are in use.
struct Chunk {
  int64_t begin, tokens, padded;
};

HYPENET_INLINE Chunk chunk_at(int64_t begin, int64_t all) {
  const int64_t tokens = all - begin < C ? all - begin : C;
  return {begin, tokens, round_up(tokens, kBlock)};
}

/// scores[i, j] = (x y^T)[i, j] gamma^(i - j) for one block of rows from `first`, up to its last
/// column.
HYPENET_INLINE void decayed_scores(const Decay& decay, int64_t first, int64_t size, const float* x,
                                   const float* y_transposed, int64_t padded, float* scores) {
  const int64_t width = first + kBlock;
  multiply(kBlock, width, size, {x + first * size, size, 1}, y_transposed, padded,
           scores + first * C, C, false);
  for (int64_t i = first; i < width; ++i) {
    const float* const lag = decay.lag + C - i;
    float* const row = scores + i * C;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) row[j] *= lag[j];
  }
}

/// Row i times gamma^(i + 1), in place: what meets the state before the chunk.
HYPENET_INLINE void weigh_from_start(const Decay& decay, const Chunk& chunk, int64_t size,
                                     float* x) {
  for (int64_t i = 0; i < chunk.tokens; ++i) {
#pragma omp simd
    for (int64_t p = 0; p < size; ++p) x[i * size + p] *= decay.power[i + 1];
  }
}

/// Row j times gamma^(tokens - 1 - j), in place: what the state after the chunk keeps of it.
HYPENET_INLINE void weigh_to_end(const Decay& decay, const Chunk& chunk, int64_t size, float* x) {
  for (int64_t j = 0; j < chunk.tokens; ++j) {
#pragma omp simd
    for (int64_t p = 0; p < size; ++p) x[j * size + p] *= decay.power[chunk.tokens - 1 - j];
  }
}

/// state = state * factor (0: whatever it held).
HYPENET_INLINE void scale_state(float* state, float factor, int64_t size) {
  for (int64_t x = 0; x < size * size; ++x) state[x] = factor == 0.0F ? 0.0F : state[x] * factor;
}

HYPENET_INLINE void copy(const float* from, int64_t count, float* to) {
  for (int64_t x = 0; x < count; ++x) to[x] = from[x];
}

HYPENET_INLINE void unpack_rows(const float* from, int64_t rows, int64_t columns, float factor,
                                int64_t to_row, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) to[i * to_row + j] = from[i * columns + j] * factor;
  }
}

/// The pieces of scratch memory: seven packed chunks, two score matrices, three states.
struct Scratch {
  HYPENET_INLINE Scratch(float* memory, int64_t size) {
    for (float*& rows : packed) rows = memory, memory += C * size;
    for (float*& matrix : scores) matrix = memory, memory += C * C;
    for (float*& matrix : states) matrix = memory, memory += size * size;
  }
  float* packed[8];
  float* scores[2];
  float* states[3];
};

}  // namespace

int64_t recurrence_scratch(int64_t size) { return 8 * C * size + 2 * C * C + 3 * size * size; }

HYPENET_VECTORIZED
void recurrence_forward(const RecurrenceParams& params, float* memory) {
  const int64_t size = params.size, token = params.token, all = params.tokens;
  const Decay decay(params.decay);
  const Scratch scratch(memory, size);
  float *const q = scratch.packed[0], *const v = scratch.packed[1];
  float *const k_transposed = scratch.packed[2], *const output = scratch.packed[3];
  float* const state = scratch.states[0];
  bool has_state = params.initial != nullptr;
  if (has_state) copy(params.initial, size * size, state);
  for (int64_t begin = 0, n = 0; begin < all; begin += C, ++n) {
    const Chunk chunk = chunk_at(begin, all);
    const int64_t offset = begin * token;
    const float scale = static_cast<float>(params.scale);
    pack_rows(params.q + offset, token, chunk.tokens, chunk.padded, size, scale, q);
    pack_rows(params.v + offset, token, chunk.tokens, chunk.padded, size, 1.0F, v);
    pack_transposed(params.k + offset, token, chunk.tokens, chunk.padded, size, k_transposed);
    for (int64_t first = 0; first < chunk.padded; first += kBlock) {
      decayed_scores(decay, first, size, q, k_transposed, chunk.padded, scratch.scores[0]);
      multiply(kBlock, size, first + kBlock, {scratch.scores[0] + first * C, C, 1}, v, size,
               output + first * size, size, false);
    }
    if (params.starts != nullptr) {
      if (!has_state) scale_state(state, 0, size);
      copy(state, size * size, params.starts + n * size * size);
    }
    if (has_state) {
      weigh_from_start(decay, chunk, size, q);
      multiply(chunk.padded, size, size, {q, size, 1}, state, size, output, size, true);
    }
    unpack_rows(output, chunk.tokens, size, 1.0F, token, params.output + offset);
    if (begin + C >= all && params.final_state == nullptr) break;
    scale_state(state, has_state ? decay.power[chunk.tokens] : 0.0F, size);
    weigh_to_end(decay, chunk, size, v);
    multiply(size, size, chunk.tokens, {k_transposed, chunk.padded, 1}, v, size, state, size, true);
    has_state = true;
  }
  if (params.final_state != nullptr) copy(state, size * size, params.final_state);
}

HYPENET_VECTORIZED
void recurrence_backward(const RecurrenceBackwardParams& params, float* memory) {
  const int64_t size = params.size, token = params.token, all = params.tokens;
  const Decay decay(params.decay);
  const Scratch scratch(memory, size);
  float *const q = scratch.packed[0], *const k = scratch.packed[1], *const v = scratch.packed[2];
  float *const dout = scratch.packed[3], *const other = scratch.packed[4];
  float *const dq = scratch.packed[5], *const dk = scratch.packed[6], *const dv = scratch.packed[7];
  float *const scores = scratch.scores[0], *const dscores = scratch.scores[1];
  float *const dstate = scratch.states[0], *const transposed = scratch.states[1];
  const float scale = static_cast<float>(params.scale);
  bool has_dstate = params.dfinal != nullptr;
  if (has_dstate) copy(params.dfinal, size * size, dstate);
  const int64_t chunks = (all + C - 1) / C;
  for (int64_t n = chunks - 1; n >= 0; --n) {
    const Chunk chunk = chunk_at(n * C, all);
    const int64_t offset = chunk.begin * token, padded = chunk.padded;
    pack_rows(params.q + offset, token, chunk.tokens, padded, size, scale, q);
    pack_rows(params.k + offset, token, chunk.tokens, padded, size, 1.0F, k);
    pack_rows(params.v + offset, token, chunk.tokens, padded, size, 1.0F, v);
    pack_rows(params.doutput + offset, token, chunk.tokens, padded, size, 1.0F, dout);
    pack_transposed(k, size, padded, padded, size, other);
    for (int64_t first = 0; first < padded; first += kBlock) {
      decayed_scores(decay, first, size, q, other, padded, scores);
    }
    pack_transposed(v, size, padded, padded, size, other);
    for (int64_t first = 0; first < padded; first += kBlock) {
      decayed_scores(decay, first, size, dout, other, padded, dscores);
      multiply(kBlock, size, first + kBlock, {dscores + first * C, C, 1}, k, size,
               dq + first * size, size, false);
    }
    for (int64_t first = 0; first < padded; first += kBlock) {
      const int64_t diagonal = first * C + first;
      multiply(kBlock, size, padded - first, {dscores + diagonal, 1, C}, q + first * size, size,
               dk + first * size, size, false);
      multiply(kBlock, size, padded - first, {scores + diagonal, 1, C}, dout + first * size, size,
               dv + first * size, size, false);
    }
    if (has_dstate) {
      weigh_to_end(decay, chunk, size, k);
      multiply(padded, size, size, {k, size, 1}, dstate, size, dv, size, true);
      weigh_to_end(decay, chunk, size, v);
      pack_transposed(dstate, size, size, size, size, transposed);
      multiply(padded, size, size, {v, size, 1}, transposed, size, dk, size, true);
    }
    weigh_from_start(decay, chunk, size, dout);
    if (n > 0 || params.has_initial) {
      pack_transposed(params.starts + n * size * size, size, size, size, size, transposed);
      multiply(padded, size, size, {dout, size, 1}, transposed, size, dq, size, true);
    }
    unpack_rows(dq, chunk.tokens, size, scale, token, params.dq + offset);
    unpack_rows(dk, chunk.tokens, size, 1.0F, token, params.dk + offset);
    unpack_rows(dv, chunk.tokens, size, 1.0F, token, params.dv + offset);
    if (n == 0 && params.dinitial == nullptr) break;
    scale_state(dstate, has_dstate ? decay.power[chunk.tokens] : 0.0F, size);
    multiply(size, size, chunk.tokens, {q, 1, size}, dout, size, dstate, size, true);
    has_dstate = true;
  }
  if (params.dinitial != nullptr) copy(dstate, size * size, params.dinitial);
}

}  // namespace hypenet::kernels
