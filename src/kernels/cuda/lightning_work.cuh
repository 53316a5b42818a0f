// What a block of either lightning kernel works on: one segment of one head of one sequence, in one
// of the passes. A segment finds its state by starting early: what is older than 24 halvings is
// below float32's rounding.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lightning.h"

namespace hypenet::kernels::cuda {

constexpr int kChunk = 64;            // tokens
constexpr float kForgotten = 16.64F;  // nats: 24 log 2

/// How sequences are cut: into segments that cost about as much as `cost` written tokens, early
/// start included, at most `count` of them.
struct Segments {
  int64_t count, cost;
};

/// Tokens a segment of a head that starts `early` tokens early, where a token that is only gathered
/// costs 3/8 of one that is written. All segments of a sequence are of one length.
__host__ __device__ inline int64_t segment_length(int64_t tokens, int64_t early, int64_t cost) {
  if (tokens <= cost) return cost;
  const int64_t left = cost - early * 3 / 8;
  const int64_t longest = left > cost / 2 ? left : cost / 2;
  const int64_t count = (tokens + longest - 1) / longest;
  return ((tokens + count - 1) / count + kChunk - 1) / kChunk * kChunk;
}

/// The two kernels; the second needs sm_90.
Status lightning_portable(const LightningParams& params, const Segments& segments, Stream stream);
Status lightning_hopper(const LightningParams& params, const Segments& segments, Stream stream);

/// Shared memory of a block of the first.
int64_t lightning_portable_bytes(int64_t size);

struct Work {
  const LightningPass& pass;
  const char *q, *k, *v;  // of the head, at the first token in the pass's direction
  char* o;
  int64_t stride;             // bytes from token to token, negative in a reversed pass
  int64_t tokens;             // of the sequence
  int64_t start, first, end;  // the state is gathered from start, outputs written from first
  int64_t matrix;             // where the head's state is
  float decay;

  __device__ bool is_empty() const { return first >= tokens && first > 0; }
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

  // Offsets are data: whatever they are, nothing outside of the tensors is touched.
  const auto offset = [&](int64_t i) {
    return min(max(int64_t{p.offsets[i]}, int64_t{0}), p.total);
  };
  const int64_t begin = p.offsets ? offset(sequence) : sequence * p.tokens;
  const int64_t tokens = p.offsets ? max(offset(sequence + 1) - begin, int64_t{0}) : p.tokens;
  const int64_t row = p.heads * p.size * 2;
  const int64_t at = (pass.reverse ? begin + tokens - 1 : begin) * row + head * p.size * 2;
  const float decay = p.decay[head];
  // In float until it is known to be less than the tokens: a decay near zero reaches very far.
  const float reach = ceilf(kForgotten / decay / kChunk) * kChunk;
  const int64_t early = reach < static_cast<float>(tokens) ? static_cast<int64_t>(reach) : tokens;
  const int64_t length = segment_length(tokens, early, segments.cost);
  const int64_t last = tokens > 0 ? (tokens - 1) / length : 0;
  // One past the last segment is empty.
  const int64_t segment = place > last ? last + 1 : pass.reverse ? last - place : place;
  const int64_t first = segment * length;
  return {pass,
          static_cast<const char*>(pass.q) + at,
          static_cast<const char*>(pass.k) + at,
          static_cast<const char*>(pass.v) + at,
          static_cast<char*>(pass.o) + at,
          pass.reverse ? -row : row,
          tokens,
          first > early ? first - early : 0,
          first,
          min(first + length, tokens),
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
