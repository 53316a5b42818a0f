// What a block of either lightning kernel works on: one segment of one head of one sequence, in one
// of the passes. A segment finds its state by starting early: what is older than 24 halvings is
// below float32's rounding.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lightning.h"

namespace hypenet::kernels::cuda {

constexpr int kChunk = 64;            // tokens
constexpr float kForgotten = 16.64F;  // nats: 24 log 2

/// How tokens are cut: each block takes `length` tokens of a sequence.
struct Segments {
  int64_t count, length;
};

/// The two kernels; the second needs sm_90.
Status lightning_portable(const LightningParams& params, const Segments& segments, Stream stream);
Status lightning_hopper(const LightningParams& params, const Segments& segments, Stream stream);

struct Work {
  const LightningPass& pass;
  const char *q, *k, *v;  // of the head, at the first token in the pass's direction
  char* o;
  int64_t stride;             // bytes from token to token, negative in a reversed pass
  int64_t tokens;             // of the sequence
  int64_t start, first, end;  // the state is gathered from start, outputs written from first
  int64_t matrix;             // where the head's state is
  float decay;

  __device__ bool is_empty() const { return first >= tokens && (tokens > 0 || first > 0); }
  __device__ bool is_given() const { return start == 0 && pass.given != nullptr; }
  /// Whether the state after the tokens before `next` is of use to this block.
  __device__ bool needs_state_after(int64_t next) const {
    return next < end || (next >= tokens && pass.final_state != nullptr);
  }
  /// Exponent of the decay across the chunk at `token`. The state counts one decay ahead; the final
  /// one of a forward pass does not.
  __device__ int decays(int64_t token) const {
    const auto n = static_cast<int>(min(tokens - token, int64_t{kChunk}));
    return token + kChunk >= tokens ? n - pass.state_lag : n;
  }
  __device__ float given_factor() const {
    return pass.given_factor * (tokens > 0 && pass.state_lag != 0 ? expf(-decay) : 1.0F);
  }
};

/// Blocks of the same tokens follow each other, so that passes share what they read; slow heads,
/// which start earliest, come first.
__device__ __forceinline__ Work work_of_block(const LightningParams& p, const Segments& segments) {
  int64_t id = blockIdx.x;
  const LightningPass& pass = p.passes[id % p.pass_count];
  id /= p.pass_count;
  const int64_t sequence = id % p.sequences;
  id /= p.sequences;
  const int64_t place = id % segments.count;
  const int64_t head = p.heads - 1 - id / segments.count;
  const int64_t segment = pass.reverse ? segments.count - 1 - place : place;

  const int64_t begin = p.offsets ? p.offsets[sequence] : sequence * p.tokens;
  const int64_t tokens = p.offsets ? p.offsets[sequence + 1] - begin : p.tokens;
  const int64_t row = p.heads * p.size * 2;
  const int64_t at = (pass.reverse ? begin + tokens - 1 : begin) * row + head * p.size * 2;
  const int64_t first = segment * segments.length;
  const float decay = p.decay[head];
  // In float: a decay near zero reaches further back than int64 counts.
  const float early = ceilf(kForgotten / decay / kChunk) * kChunk;
  const int64_t start = early < static_cast<float>(first) ? first - static_cast<int64_t>(early) : 0;
  return {pass,
          static_cast<const char*>(pass.q) + at,
          static_cast<const char*>(pass.k) + at,
          static_cast<const char*>(pass.v) + at,
          static_cast<char*>(pass.o) + at,
          pass.reverse ? -row : row,
          tokens,
          start,
          first,
          min(first + segments.length, tokens),
          (sequence * p.heads + head) * p.size * p.size,
          decay};
}

/// factor gamma^n for n = -64 .. 64, zero below 0, at table + 64 + n.
__device__ __forceinline__ void fill_powers(float* table, float decay, float factor) {
  for (int n = threadIdx.x; n <= 2 * kChunk; n += blockDim.x) {
    table[n] = n < kChunk ? 0.0F : factor * expf(-decay * static_cast<float>(n - kChunk));
  }
}

}  // namespace hypenet::kernels::cuda
