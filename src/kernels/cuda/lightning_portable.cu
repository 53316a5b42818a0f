// Lightning attention for sm_80 and newer. A block of four warps carries the state of one head
// through one segment. Each warp owns a quarter of the state's columns, transposed, in registers:
// the accumulators of the update are, rounded, the right factor of q S.
#include "kernels/cuda/lightning_work.cuh"
#include "kernels/cuda/mma.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

struct Tiles {
  uint32_t q, k, v;
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
__device__ __forceinline__ void load_tile(uint32_t tile, const char* tensor, const Work& work,
                                          int64_t first) {
  using G = Geometry<kSize>;
  constexpr int kRows = kThreads / G::kPieces;
  const int piece = threadIdx.x % G::kPieces;
#pragma unroll
  for (int row = threadIdx.x / G::kPieces; row < kChunk; row += kRows) {
    const int64_t token = first + row;
    const bool valid = token < work.tokens;
    copy_async(tile + swizzled<G::kRow>(row, piece),
               tensor + (valid ? token * work.stride : 0) + 16 * piece, valid);
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

/// 16 columns of a row, two pairs in each of four neighbouring lanes: lane t holds columns 2t, 2t+1
/// of both halves. They are written in order, 8 bytes a lane.
__device__ __forceinline__ void store_columns(char* row, uint32_t low, uint32_t high, bool valid) {
  const int lane = threadIdx.x % 32, t = lane % 4;
  const int from = lane - t + t % 2 * 2;
  const uint32_t a0 = __shfl_sync(0xffffffffU, low, from);
  const uint32_t a1 = __shfl_sync(0xffffffffU, low, from + 1);
  const uint32_t b0 = __shfl_sync(0xffffffffU, high, from);
  const uint32_t b1 = __shfl_sync(0xffffffffU, high, from + 1);
  if (!valid) return;
  *reinterpret_cast<uint2*>(row + 8 * t) = t < 2 ? make_uint2(a0, a1) : make_uint2(b0, b1);
}

template <int kSize>
__device__ __forceinline__ void store_output(const Output<kSize>& output, const Work& work,
                                             int64_t first, float scale) {
  using G = Geometry<kSize>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int m = 0; m < kChunk / 16; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = first + 16 * m + 8 * half + lane / 4;
      char* const row = work.o + token * work.stride + 2 * warp * G::kColumns;
#pragma unroll
      for (int n = 0; n < G::kOutputs; n += 2) {
        const auto pair = [&](int tile) {
          return pack(output[m][tile][2 * half] * scale, output[m][tile][2 * half + 1] * scale);
        };
        store_columns(row + 16 * n, pair(n), pair(n + 1), token < work.tokens);
      }
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

template <int kSize>
__global__ void __launch_bounds__(kThreads, 2)
    portable_kernel(const __grid_constant__ LightningParams p, const Segments segments) {
  using G = Geometry<kSize>;
  extern __shared__ __align__(128) char shared[];
  const Work work = work_of_block(p, segments);
  if (work.is_empty()) return;
  float* const power = reinterpret_cast<float*>(shared + G::kPowers) + kChunk;
  fill_powers(power - kChunk, work.decay, 1);
  State<kSize> state = {};
  if (work.is_given()) {
    const float factor = work.given_factor();
    for_each_element<kSize>(state, [&](float& x, int straight, int transposed) {
      x = factor *
          work.pass.given[work.matrix + (work.pass.given_transposed ? transposed : straight)];
    });
  }

  const uint32_t base = shared_address(shared);
  const auto tiles = [&](int stage) {
    const uint32_t at = base + stage * 3 * G::kTile;
    return Tiles{at, at + G::kTile, at + 2 * G::kTile};
  };
  const auto load = [&](int64_t token, int stage) {
    if (token < work.end) {
      const Tiles t = tiles(stage);
      if (token >= work.first) load_tile<kSize>(t.q, work.q, work, token);
      load_tile<kSize>(t.k, work.k, work, token);
      load_tile<kSize>(t.v, work.v, work, token);
    }
    commit_copies();
  };
  load(work.start, 0);
  int stage = 0;
  for (int64_t token = work.start; token < work.end; token += kChunk, stage ^= 1) {
    load(token + kChunk, stage ^ 1);
    wait_copies<1>();
    __syncthreads();
    const Tiles t = tiles(stage);
    if (token >= work.first) {
      write_scores<kSize>(t.q, t.k, shared + G::kScores, power);
      Output<kSize> output = {};
      if (work.is_given() || token > work.start) read_state<kSize>(output, state, t.q, power);
      __syncthreads();
      add_chunk<kSize>(output, base + G::kScores, t.v);
      store_output<kSize>(output, work, token, p.scale);
    }
    if (!work.needs_state_after(token + kChunk)) break;
    update_state<kSize>(state, t.k, t.v, work.decays(token), power);
    __syncthreads();
  }
  if (work.end == work.tokens && work.pass.final_state != nullptr) {
    for_each_element<kSize>(state, [&](float& x, int straight, int) {
      work.pass.final_state[work.matrix + straight] = x * work.pass.final_factor;
    });
  }
}

template <int kSize>
Status launch(const LightningParams& params, const Segments& segments, Stream stream) {
  constexpr int kBytes = Geometry<kSize>::kBytes;
  const cudaError_t error = cudaFuncSetAttribute(
      portable_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const auto blocks =
      static_cast<unsigned>(params.pass_count * params.sequences * params.heads * segments.count);
  portable_kernel<kSize><<<blocks, kThreads, kBytes, cuda_stream(stream)>>>(params, segments);
  return launch_status();
}

}  // namespace

int64_t lightning_portable_bytes(int64_t size) {
  return size == 64 ? Geometry<64>::kBytes : Geometry<128>::kBytes;
}

Status lightning_portable(const LightningParams& params, const Segments& segments, Stream stream) {
  return params.size == 64 ? launch<64>(params, segments, stream)
                           : launch<128>(params, segments, stream);
}

}  // namespace hypenet::kernels::cuda
