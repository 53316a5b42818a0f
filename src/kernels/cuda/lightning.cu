// A block of four warps carries the state of one head through one segment of a sequence. Each warp
// owns a quarter of the state's columns, transposed, in registers: the accumulators of the update
// are, rounded, the right factor of q S. A segment finds its state by starting early: what is older
// than 24 halvings is below float32's rounding.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lightning.h"
#include "kernels/cuda/mma.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kChunk = 64;
constexpr int kThreads = 128;
constexpr float kForgotten = 16.64F;  // nats: 24 log 2

struct Tiles {
  uint32_t q, k, v;
};

/// One pass of one head of one sequence, as its block sees it.
struct Chain {
  const char *q, *k, *v;
  char* o;
  int64_t stride;  // bytes from token to token, negative in a reversed pass
  int64_t tokens;
};

template <int kSize>
struct Geometry {
  static constexpr int kRow = 2 * kSize;  // bytes of a token
  static constexpr int kTile = kChunk * kRow;
  static constexpr int kPieces = kRow / 16;
  static constexpr int kColumns = kSize / 4;        // of the state a warp owns
  static constexpr int kStateRows = kColumns / 16;  // tiles of S^T: rows (v) ...
  static constexpr int kStateColumns = kSize / 8;   // ... and columns (k)
  static constexpr int kOutputs = kColumns / 8;     // tiles of o a warp owns in 16 rows
  static constexpr int kScores = 6 * kTile;         // place of the scores after two stages of tiles
  static constexpr int kPowers = kScores + kChunk * kChunk * 2;
  static constexpr int kBytes = kPowers + (2 * kChunk + 1) * 4;
};

template <int kSize>
__device__ __forceinline__ void load_tile(uint32_t tile, const char* tensor, const Chain& chain,
                                          int64_t first) {
  using G = Geometry<kSize>;
  constexpr int kRows = kThreads / G::kPieces;
  const int piece = threadIdx.x % G::kPieces;
#pragma unroll
  for (int row = threadIdx.x / G::kPieces; row < kChunk; row += kRows) {
    const int64_t token = first + row;
    const bool valid = token < chain.tokens;
    copy_async(tile + swizzled<G::kRow>(row, piece),
               tensor + (valid ? token * chain.stride : 0) + 16 * piece, valid);
  }
}

/// Scores of this warp's 16 queries with the keys up to theirs, times the decay between them, to
/// shared memory.
template <int kSize>
__device__ __forceinline__ void write_scores(uint32_t q, uint32_t k, char* scores,
                                             const float* power) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float sums[kChunk / 8][4] = {};
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t a[4];
    load_matrices(a, q + swizzled<G::kRow>(16 * warp + lane % 16, 2 * d + lane / 16));
#pragma unroll
    for (int pair = 0; pair < kChunk / 16; ++pair) {
      if (pair > warp) continue;
      uint32_t b[4];
      load_matrices(
          b, k + swizzled<G::kRow>(16 * pair + lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
      multiply_add(sums[2 * pair], a, b[0], b[1]);
      multiply_add(sums[2 * pair + 1], a, b[2], b[3]);
    }
  }
  const int row = 16 * warp + lane / 4, column = lane % 4 * 2;
#pragma unroll
  for (int tile = 0; tile < kChunk / 8; ++tile) {
    if (tile / 2 > warp) continue;
    const int lag = row - 8 * tile - column;
    char* const at = scores + 2 * column;
    *reinterpret_cast<uint32_t*>(at + swizzled<2 * kChunk>(row, tile)) =
        pack(sums[tile][0] * power[lag], sums[tile][1] * power[lag - 1]);
    *reinterpret_cast<uint32_t*>(at + swizzled<2 * kChunk>(row + 8, tile)) =
        pack(sums[tile][2] * power[lag + 8], sums[tile][3] * power[lag + 7]);
  }
}

template <int kSize>
using State = float[Geometry<kSize>::kStateRows][Geometry<kSize>::kStateColumns][4];
template <int kSize>
using Output = float[kChunk / 16][Geometry<kSize>::kOutputs][4];

/// output = gamma^i q_i S.
template <int kSize>
__device__ __forceinline__ void read_state(Output<kSize>& output, const State<kSize>& state,
                                           uint32_t q, const float* power) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    uint32_t b[G::kOutputs][2];
#pragma unroll
    for (int n = 0; n < G::kOutputs; ++n) {
      const auto& low = state[n / 2][2 * d];
      const auto& high = state[n / 2][2 * d + 1];
      b[n][0] = pack(low[n % 2 * 2], low[n % 2 * 2 + 1]);
      b[n][1] = pack(high[n % 2 * 2], high[n % 2 * 2 + 1]);
    }
#pragma unroll
    for (int m = 0; m < kChunk / 16; ++m) {
      uint32_t a[4];
      load_matrices(a, q + swizzled<G::kRow>(16 * m + lane % 16, 2 * d + lane / 16));
#pragma unroll
      for (int n = 0; n < G::kOutputs; ++n) multiply_add(output[m][n], a, b[n][0], b[n][1]);
    }
  }
#pragma unroll
  for (int m = 0; m < kChunk / 16; ++m) {
    const float low = power[16 * m + lane / 4], high = power[16 * m + lane / 4 + 8];
#pragma unroll
    for (int n = 0; n < G::kOutputs; ++n) {
      output[m][n][0] *= low, output[m][n][1] *= low;
      output[m][n][2] *= high, output[m][n][3] *= high;
    }
  }
}

/// output += scores v.
template <int kSize>
__device__ __forceinline__ void add_chunk(Output<kSize>& output, uint32_t scores, uint32_t v) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    uint32_t b[G::kOutputs / 2][4];
#pragma unroll
    for (int pair = 0; pair < G::kOutputs / 2; ++pair) {
      load_transposed(b[pair], v + swizzled<G::kRow>(16 * j + lane % 16, warp * (G::kColumns / 8) +
                                                                             2 * pair + lane / 16));
    }
#pragma unroll
    for (int m = j; m < kChunk / 16; ++m) {
      uint32_t a[4];
      load_matrices(a, scores + swizzled<2 * kChunk>(16 * m + lane % 16, 2 * j + lane / 16));
#pragma unroll
      for (int n = 0; n < G::kOutputs; ++n) {
        multiply_add(output[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
}

/// state = gamma^n state + sum_j gamma^(n - j) v_j^T k_j over the chunk's tokens.
template <int kSize>
__device__ __forceinline__ void update_state(State<kSize>& state, uint32_t k, uint32_t v, int n,
                                             const float* power) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float across = power[n];
#pragma unroll
  for (auto& row : state) {
#pragma unroll
    for (auto& tile : row) {
#pragma unroll
      for (float& x : tile) x *= across;
    }
  }
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    const float* const weight = power + n - 16 * j - lane % 4 * 2;
    uint32_t a[G::kStateRows][4];
#pragma unroll
    for (int m = 0; m < G::kStateRows; ++m) {
      load_transposed(a[m], v + swizzled<G::kRow>(16 * j + lane % 8 + lane / 16 * 8,
                                                  warp * (G::kColumns / 8) + 2 * m + lane / 8 % 2));
      a[m][0] = scale_pair(a[m][0], weight[0], weight[-1]);
      a[m][1] = scale_pair(a[m][1], weight[0], weight[-1]);
      a[m][2] = scale_pair(a[m][2], weight[-8], weight[-9]);
      a[m][3] = scale_pair(a[m][3], weight[-8], weight[-9]);
    }
#pragma unroll
    for (int pair = 0; pair < kSize / 16; ++pair) {
      uint32_t b[4];
      load_transposed(b, k + swizzled<G::kRow>(16 * j + lane % 16, 2 * pair + lane / 16));
#pragma unroll
      for (int m = 0; m < G::kStateRows; ++m) {
        multiply_add(state[m][2 * pair], a[m], b[0], b[1]);
        multiply_add(state[m][2 * pair + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Four registers of four neighbouring lanes change places: lane t gets register t of each.
__device__ __forceinline__ void transpose_quad(uint32_t (&r)[4]) {
#pragma unroll
  for (int step = 1; step <= 2; ++step) {
    const bool upper = threadIdx.x & step;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t& low = step == 1 ? r[2 * i] : r[i];
      uint32_t& high = step == 1 ? r[2 * i + 1] : r[i + 2];
      const uint32_t got = __shfl_xor_sync(0xffffffffU, upper ? low : high, step);
      (upper ? low : high) = got;
    }
  }
}

/// A row's columns of this warp, held by four lanes: 16 or 8 bytes a lane, in order.
template <int kOutputs>
__device__ __forceinline__ void store_row(char* row, const uint32_t (&pairs)[kOutputs],
                                          bool valid) {
  const int t = threadIdx.x % 4;
  if constexpr (kOutputs == 4) {
    uint32_t r[4] = {pairs[0], pairs[1], pairs[2], pairs[3]};
    transpose_quad(r);
    if (valid) *reinterpret_cast<uint4*>(row + 16 * t) = make_uint4(r[0], r[1], r[2], r[3]);
  } else {
    static_assert(kOutputs == 2);
    const int from = threadIdx.x % 32 / 4 * 4 + t % 2 * 2;
    const uint32_t a0 = __shfl_sync(0xffffffffU, pairs[0], from);
    const uint32_t a1 = __shfl_sync(0xffffffffU, pairs[0], from + 1);
    const uint32_t b0 = __shfl_sync(0xffffffffU, pairs[1], from);
    const uint32_t b1 = __shfl_sync(0xffffffffU, pairs[1], from + 1);
    if (valid)
      *reinterpret_cast<uint2*>(row + 8 * t) = t < 2 ? make_uint2(a0, a1) : make_uint2(b0, b1);
  }
}

template <int kSize>
__device__ __forceinline__ void store_output(const Output<kSize>& output, const Chain& chain,
                                             int64_t first, float scale) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int m = 0; m < kChunk / 16; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t pairs[G::kOutputs];
#pragma unroll
      for (int n = 0; n < G::kOutputs; ++n) {
        pairs[n] = pack(output[m][n][2 * half] * scale, output[m][n][2 * half + 1] * scale);
      }
      const int64_t token = first + 16 * m + 8 * half + lane / 4;
      store_row(chain.o + token * chain.stride + 2 * warp * G::kColumns, pairs,
                token < chain.tokens);
    }
  }
}

/// Calls visit(element, index in a [k, v] matrix, index in a [v, k] matrix) for what this thread
/// holds.
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_element(State<kSize>& state, const Visit& visit) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int m = 0; m < G::kStateRows; ++m) {
#pragma unroll
    for (int n = 0; n < G::kStateColumns; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = warp * G::kColumns + 16 * m + lane / 4 + i / 2 * 8;  // of v
        const int row = 8 * n + lane % 4 * 2 + i % 2;                           // of k
        visit(state[m][n][i], row * kSize + column, column * kSize + row);
      }
    }
  }
}

/// What a block works on: blocks of the same tokens follow each other, slow heads, which start
/// earliest, come first.
struct Place {
  const LightningPass& pass;
  int64_t sequence, head, segment;
};

__device__ __forceinline__ Place place_of_block(const LightningParams& p, int64_t segments) {
  int64_t id = blockIdx.x;
  const int64_t pass = id % p.pass_count;
  id /= p.pass_count;
  const int64_t sequence = id % p.sequences;
  id /= p.sequences;
  const int64_t segment = id % segments;
  const LightningPass& chosen = p.passes[pass];
  return {chosen, sequence, p.heads - 1 - id / segments,
          chosen.reverse ? segments - 1 - segment : segment};
}

template <int kSize>
__device__ __forceinline__ Chain chain_of(const LightningParams& p, const Place& place) {
  const int64_t begin = p.offsets ? p.offsets[place.sequence] : place.sequence * p.tokens;
  const int64_t tokens = p.offsets ? p.offsets[place.sequence + 1] - begin : p.tokens;
  const int64_t row = p.heads * Geometry<kSize>::kRow;
  const bool reverse = place.pass.reverse;
  const int64_t start =
      (reverse ? begin + tokens - 1 : begin) * row + place.head * Geometry<kSize>::kRow;
  return {static_cast<const char*>(place.pass.q) + start,
          static_cast<const char*>(place.pass.k) + start,
          static_cast<const char*>(place.pass.v) + start,
          static_cast<char*>(place.pass.o) + start,
          reverse ? -row : row,
          tokens};
}

template <int kSize>
__global__ void __launch_bounds__(kThreads, 2)
    lightning_kernel(const __grid_constant__ LightningParams p, int64_t segments, int64_t length) {
  using G = Geometry<kSize>;
  extern __shared__ __align__(128) char shared[];
  const Place place = place_of_block(p, segments);
  const Chain chain = chain_of<kSize>(p, place);
  const int64_t first = place.segment * length;
  if (first >= chain.tokens && (chain.tokens > 0 || place.segment > 0)) return;
  const int64_t end = min(first + length, chain.tokens);
  const float decay = p.decay[place.head];
  float* const power = reinterpret_cast<float*>(shared + G::kPowers) + kChunk;  // gamma^n, n <= 64
  for (int n = threadIdx.x; n <= 2 * kChunk; n += kThreads) {
    power[n - kChunk] = n < kChunk ? 0.0F : expf(-decay * static_cast<float>(n - kChunk));
  }
  // In float: a decay near zero reaches further back than int64 counts.
  const float early = ceilf(kForgotten / decay / kChunk) * kChunk;
  const int64_t start = early < static_cast<float>(first) ? first - static_cast<int64_t>(early) : 0;

  State<kSize> state = {};
  const bool is_given = start == 0 && place.pass.given != nullptr;
  const int64_t matrix = (place.sequence * p.heads + place.head) * kSize * kSize;
  if (is_given) {
    const float factor =
        place.pass.given_factor * (chain.tokens > 0 && place.pass.state_lag ? expf(-decay) : 1.0F);
    for_each_element<kSize>(state, [&](float& x, int straight, int transposed) {
      x = factor * place.pass.given[matrix + (place.pass.given_transposed ? transposed : straight)];
    });
  }

  const uint32_t base = shared_address(shared);
  const auto tiles = [&](int stage) {
    const uint32_t at = base + stage * 3 * G::kTile;
    return Tiles{at, at + G::kTile, at + 2 * G::kTile};
  };
  const auto load = [&](int64_t token, int stage) {
    if (token < end) {
      const Tiles t = tiles(stage);
      if (token >= first) load_tile<kSize>(t.q, chain.q, chain, token);
      load_tile<kSize>(t.k, chain.k, chain, token);
      load_tile<kSize>(t.v, chain.v, chain, token);
    }
    commit_copies();
  };
  load(start, 0);
  int stage = 0;
  for (int64_t token = start; token < end; token += kChunk, stage ^= 1) {
    load(token + kChunk, stage ^ 1);
    wait_copies<1>();
    __syncthreads();
    const Tiles t = tiles(stage);
    if (token >= first) {
      write_scores<kSize>(t.q, t.k, shared + G::kScores, power);
      Output<kSize> output = {};
      if (is_given || token > start) read_state<kSize>(output, state, t.q, power);
      __syncthreads();
      add_chunk<kSize>(output, base + G::kScores, t.v);
      store_output<kSize>(output, chain, token, p.scale);
    }
    const bool is_last = token + kChunk >= chain.tokens;
    if (!is_last && token + kChunk >= end) break;  // the next segment finds its state itself
    if (is_last && place.pass.final_state == nullptr) break;
    // The state counts one decay ahead; the final one of a forward pass does not.
    const int n = static_cast<int>(min(chain.tokens - token, int64_t{kChunk}));
    update_state<kSize>(state, t.k, t.v, is_last ? n - place.pass.state_lag : n, power);
    __syncthreads();
  }
  if (end == chain.tokens && place.pass.final_state != nullptr) {
    for_each_element<kSize>(state, [&](float& x, int straight, int) {
      place.pass.final_state[matrix + straight] = x * place.pass.final_factor;
    });
  }
}

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Tokens a block: enough blocks to fill the device twice, but no segment so short that starting
/// early costs as much as itself.
Status choose_segment(const LightningParams& p, int64_t* segment) {
  constexpr int64_t kShortest = 1024;
  int device = 0, processors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  }
  if (error != cudaSuccess) return status_of(error);
  const int64_t chains = p.pass_count * p.sequences * p.heads;
  const int64_t wanted = ceil_divide(4 * processors, chains);
  const int64_t length = ceil_divide(ceil_divide(p.tokens, wanted), kChunk) * kChunk;
  *segment = length < kShortest ? kShortest : length;
  return {};
}

template <int kSize>
Status launch(const LightningParams& params, Stream stream) {
  constexpr int kBytes = Geometry<kSize>::kBytes;
  int64_t length = params.segment;
  if (length == 0) {
    const Status status = choose_segment(params, &length);
    if (!status.ok()) return status;
  }
  const cudaError_t error = cudaFuncSetAttribute(
      lightning_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const int64_t segments = params.tokens > length ? ceil_divide(params.tokens, length) : 1;
  const int64_t blocks = params.pass_count * params.sequences * params.heads * segments;
  if (blocks > INT32_MAX) return {"more than 2^31 blocks"};
  lightning_kernel<kSize><<<static_cast<unsigned>(blocks), kThreads, kBytes, cuda_stream(stream)>>>(
      params, segments, length);
  return launch_status();
}

}  // namespace

Status lightning(const LightningParams& params, Stream stream) {
  if (params.sequences * params.heads == 0) return {};
  switch (params.size) {
    case 64:
      return launch<64>(params, stream);
    case 128:
      return launch<128>(params, stream);
    default:
      return {"expected head size 64 or 128"};
  }
}

}  // namespace hypenet::kernels::cuda
