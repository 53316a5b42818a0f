// What a block of the passes with a decay per token walks over: a segment of one head, its tiles
// and decays in stages of shared memory, and the factors that a chunk's decays make.
#pragma once

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/token_decay.cuh"

namespace hypenet::kernels::cuda {

constexpr int kRow = 128;              // bytes of a row of a panel: 64 columns
constexpr int kPanel = kChunk * kRow;  // a tensor's chunk is kSize / 64 panels
constexpr float kLog2E = 1.442695041F;

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ bool is_reverse(PassKind kind) {
  return kind == PassKind::kKeys || kind == PassKind::kValues;
}

/// Positions count in the pass's direction, from 0 to 64 times the chunks. Chunks are the same both
/// ways, so in a reversed pass the first positions may be no tokens.
struct Walk {
  int64_t head;         // of all sequences' heads
  int64_t segment;      // of the head
  int first, end;       // chunks
  int chunks;           // of the head
  int64_t place, step;  // of position 0 in tokens times heads, and to the next
  int low, high;        // positions that are tokens
  bool reverse;

  __device__ int64_t place_of(int position) const { return place + position * step; }
  __device__ bool is_token(int position) const { return position >= low && position < high; }
};

__device__ __forceinline__ Walk walk_of(const PassParams& p, const Pass& pass, int64_t id) {
  const int64_t h = id % p.heads, b = id / p.heads % p.batch, segment = id / p.heads / p.batch;
  const int64_t begin = b * p.tokens * p.heads + h, first = segment * p.segment_chunks;
  const auto chunks = static_cast<int>(p.chunks), tokens = static_cast<int>(p.tokens);
  const int padded = chunks * kChunk;
  return {.head = b * p.heads + h,
          .segment = segment,
          .first = static_cast<int>(min(first, p.chunks)),
          .end = static_cast<int>(min(first + p.segment_chunks, p.chunks)),
          .chunks = chunks,
          .place = pass.reverse ? begin + (padded - 1) * p.heads : begin,
          .step = pass.reverse ? -p.heads : p.heads,
          .low = pass.reverse ? padded - tokens : 0,
          .high = pass.reverse ? padded : tokens,
          .reverse = pass.reverse};
}

/// Copies 4 bytes to shared memory, or zeros when `valid` is false.
__device__ __forceinline__ void copy_number_async(uint32_t shared, const float* global,
                                                  bool valid) {
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(bytes)
               : "memory");
}

/// The pieces of a chunk's tiles that thread `own` of kThreads copies: a 16-byte column of every
/// kRows-th token.
template <int kSize, int kThreads>
struct Loader {
  static constexpr int kPieces = kSize / 8, kRows = kThreads / kPieces;
  int row, piece;
  uint32_t place;

  // kRows is a multiple of 8, so the swizzle is the same for all of them.
  __device__ explicit Loader(int own)
      : row(own / kPieces),
        piece(own % kPieces),
        place(piece / 8 * kPanel + swizzled<kRow>(row, piece % 8)) {}

  __device__ void load(uint32_t tile, const void* tensor, const Walk& walk, int chunk) const {
    const int first = chunk * kChunk;
    const int64_t step = kRows * walk.step * (2 * kSize);
    const char* from =
        static_cast<const char*>(tensor) + walk.place_of(first + row) * (2 * kSize) + 16 * piece;
    if (first >= walk.low && first + kChunk <= walk.high) {
#pragma unroll
      for (int i = 0; i < kChunk / kRows; ++i, from += step) {
        copy_async(tile + place + i * kRows * kRow, from, true);
      }
      return;
    }
    for (int i = 0; i < kChunk / kRows; ++i, from += step) {
      const bool valid = walk.is_token(first + row + i * kRows);
      copy_async(tile + place + i * kRows * kRow, valid ? from : tensor, valid);
    }
  }
};

/// By what a token fades the state; null: not at all. Where time is reversed, by the decay of the
/// token after it.
__device__ __forceinline__ const float* decay_at(const PassParams& p, const Walk& walk,
                                                 int position) {
  const bool is_last = walk.reverse && position == walk.low;
  if (!walk.is_token(position) || is_last) return nullptr;
  return p.decay + walk.place_of(position) + (walk.reverse ? p.heads : 0);
}

/// Asks for a chunk's decays and betas, [2, 64]; what is no token has zeros.
__device__ __forceinline__ void load_decays(float* to, const PassParams& p, const Walk& walk,
                                            int chunk, int own) {
  if (own >= 2 * kChunk) return;
  const int position = chunk * kChunk + own % kChunk;
  const float* from = nullptr;
  if (own < kChunk) {
    from = decay_at(p, walk, position);
  } else if (p.beta != nullptr && walk.is_token(position)) {
    from = p.beta + walk.place_of(position);
  }
  copy_number_async(shared_address(to + own), from != nullptr ? from : p.decay, from != nullptr);
}

/// Numbers of a chunk's tokens, 64 each. G: the sum of decays up to and with a token, as an
/// exponent of two. Read: scale exp(G), times beta for kKeys. Kept: exp(G of the last - G), times
/// beta where beta belongs to keys. Beta: then scale beta, else beta.
enum Factor { kSum = 0, kRead = kChunk, kKept = 2 * kChunk, kBeta = 3 * kChunk };
constexpr int kFactorCount = 4 * kChunk;

/// One warp.
__device__ __forceinline__ void make_factors(float* factors, const float* decays,
                                             const PassParams& p, const Pass& pass) {
  const int lane = threadIdx.x % 32;
  const float2 decay = reinterpret_cast<const float2*>(decays)[lane];
  float2 beta = make_float2(1, 1);
  if (p.beta != nullptr) beta = reinterpret_cast<const float2*>(decays + kChunk)[lane];
  const float first = -decay.x * kLog2E, both = first - decay.y * kLog2E;
  float sum = both;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float before = __shfl_up_sync(~0U, sum, offset);
    if (lane >= offset) sum += before;
  }
  float before = __shfl_up_sync(~0U, sum, 1);
  if (lane == 0) before = 0;
  const float2 G = make_float2(before + first, before + both);
  const float last = __shfl_sync(~0U, G.y, 31);
  const auto put = [&](int factor, float x, float y) {
    reinterpret_cast<float2*>(factors + factor)[lane] = make_float2(x, y);
  };
  const float2 one = make_float2(1, 1), of_keys = pass.reverse ? one : beta;
  const float2 of_readers = pass.kind == PassKind::kKeys ? beta : one;
  const float scale = pass.reverse ? 1 : p.scale;
  put(kSum, G.x, G.y);
  put(kRead, p.scale * exp2_fast(G.x) * of_readers.x, p.scale * exp2_fast(G.y) * of_readers.y);
  put(kKept, of_keys.x * exp2_fast(last - G.x), of_keys.y * exp2_fast(last - G.y));
  put(kBeta, scale * beta.x, scale * beta.y);
}

__device__ __forceinline__ float2 pair_at(const float* numbers, int index) {
  return *reinterpret_cast<const float2*>(numbers + index);
}

/// Sums over the eight lanes of one place modulo four, of kCount numbers a lane. Lane l gets
/// kCount / 8 of them: x[i] is then the sum of number l / 4 * (kCount / 8) + i.
template <int kCount>
__device__ __forceinline__ void scatter_sums(float (&x)[kCount]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = kCount / 2, bit = 16; bit >= 4; half /= 2, bit /= 2) {
    const bool upper = (lane & bit) != 0;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      if (i >= half) break;
      const float low = x[i], high = x[i + half];
      x[i] = (upper ? high : low) + __shfl_xor_sync(~0U, upper ? low : high, bit);
    }
  }
}

}  // namespace hypenet::kernels::cuda
