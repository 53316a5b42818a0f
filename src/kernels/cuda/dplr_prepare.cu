// What a chunk needs before its state is known. Readers and keys are faded to the beginning of
// their block of 16 tokens, where they meet; only there exp(-G) is formed.
#include "kernels/cuda/delta_rule_solve.cuh"
#include "kernels/cuda/dplr.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// A warp makes the scores of 16 readers, r or a, with keys of both kinds, k and b, or of one.
template <int kSize>
struct DplrPrepareGeometry {
  static constexpr int kThreads = kTokenThreads<kSize>, kWarps = kThreads / 32;
  static constexpr int kKinds = 16 / kWarps;
  static constexpr int kTile = kChunk * kSize * 2, kSquare = kChunk * kChunk * 2;
  // Tokens at their block's start, whose place the scores take: a, r, b, k.
  static constexpr int kAtBlock = 0;
  static constexpr int kSquares = 0;
  // Readers at the chunk's start, keys at its end: a, r, b, k.
  static constexpr int kAtEnds = 4 * kTile;
  static constexpr int kBlockStride = 20;  // floats
  static constexpr int kBlocks = 8 * kTile;
  static constexpr int kStarts = kBlocks + 4 * 16 * kBlockStride * 4;
  static constexpr int kParts = kStarts + 5 * kSize * 4;
  // What is left between the starts of two blocks, six pairs, in the place of kParts.
  static constexpr int kFades = kParts;
  static constexpr int kBytes = kParts + kTokenGroups * kSize * 4;
};

/// Of a later block and one before it.
__device__ __forceinline__ int pair_of_blocks(int later, int earlier) {
  return later * (later - 1) / 2 + earlier;
}

/// By all threads, after the starts were written.
template <int kSize>
__device__ __forceinline__ void write_fades(char* shared) {
  using G = DplrPrepareGeometry<kSize>;
  const float* const starts = reinterpret_cast<const float*>(shared + G::kStarts);
  const int channel = static_cast<int>(threadIdx.x) % (kSize / 2) * 2;
  const int pair = static_cast<int>(threadIdx.x) / (kSize / 2);
  if (pair >= 6) return;
  const int later = pair < 1 ? 1 : pair < 3 ? 2 : 3, earlier = pair - later * (later - 1) / 2;
  const auto start = [&](int of) {
    return *reinterpret_cast<const float2*>(starts + of * kSize + channel);
  };
  *reinterpret_cast<float2*>(shared + G::kFades + 4 * (pair * kSize + channel)) =
      exp_between(start(later), start(earlier));
}

enum Reader { kOfA, kOfR };
enum Key { kOfB, kOfK };
/// The square of a reader's scores with a kind of keys.
__device__ __forceinline__ int square_of(int reader, int key) { return 2 * reader + key; }

template <int kSize>
__device__ __forceinline__ void write_tokens(const DplrWork& work, const HeadTokens& tokens,
                                             int64_t piece, char* shared) {
  using G = DplrPrepareGeometry<kSize>;
  TokenDecays<kSize> own(tokens);
  uint32_t given[kOwnTokens][4];
#pragma unroll
  for (int i = 0; i < kOwnTokens; ++i) {
    given[i][0] = pair_at(own, work.p.a, i), given[i][1] = pair_at(own, work.p.r, i);
    given[i][2] = pair_at(own, work.p.b, i), given[i][3] = pair_at(own, work.p.k, i);
  }
  own.read(work.p.decay, reinterpret_cast<float*>(shared + G::kParts));
  own.write_starts(reinterpret_cast<float*>(shared + G::kStarts));
  const float2 none = {};
  const float2 head = exp_between(own.block, none), tail = exp_between(own.total, own.block);
  if (own.group == 0) {
    *reinterpret_cast<float2*>(work.scratch.across + piece * kSize + own.channel) =
        exp_between(own.total, none);
  }
  float2 before = own.kept(-1);
#pragma unroll
  for (int i = 0; i < kOwnTokens; ++i) {
    const float2 now = own.kept(i), grown = inverse_of(now);
    const float2 at_block[4] = {before, now, grown, grown};
    const uint32_t place = pair_place<kSize>(own.row(i), own.channel);
#pragma unroll
    for (int x = 0; x < 4; ++x) {
      const float2 end = times(at_block[x], x < 2 ? head : tail);
      const uint32_t at_end = scale_pair(given[i][x], end.x, end.y);
      *reinterpret_cast<uint32_t*>(shared + G::kAtEnds + x * G::kTile + place) = at_end;
      *reinterpret_cast<uint32_t*>(shared + G::kAtBlock + x * G::kTile + place) =
          scale_pair(given[i][x], at_block[x].x, at_block[x].y);
      if (x == 2) {
        *reinterpret_cast<uint32_t*>(work.scratch.writers + piece * G::kTile +
                                     own.row(i) * (2 * kSize) + 2 * own.channel) = at_end;
      }
    }
    before = now;
  }
}

/// A warp's scores, rounded: for each kind and block of keys, as the left factor of a product.
template <int kKinds>
struct RoundedScores {
  uint32_t x[kKinds][4][4];
};

template <int kSize>
struct ScoreMaker {
  using G = DplrPrepareGeometry<kSize>;
  uint32_t base;
  char* shared;
  int lane, warp, g, t, block, reader, first_kind;

  __device__ __forceinline__ explicit ScoreMaker(char* at)
      : base(shared_address(at)),
        shared(at),
        lane(threadIdx.x % 32),
        warp(threadIdx.x / 32),
        g(lane / 4),
        t(lane % 4),
        block(warp % 4),
        reader(warp / 4 % 2),
        first_kind(warp / 8) {}

  __device__ __forceinline__ float* diagonal() const {
    return reinterpret_cast<float*>(shared + G::kBlocks) + block * 16 * G::kBlockStride;
  }

  /// Readers from their own block's start to that of keys before them.
  __device__ __forceinline__ void fade(uint32_t (&a)[4], int keys, int channel) const {
    const float* const fades = reinterpret_cast<const float*>(shared + G::kFades) +
                               pair_of_blocks(block, keys) * kSize + channel;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 kept = *reinterpret_cast<const float2*>(fades + 8 * half);
      a[2 * half] = scale_pair(a[2 * half], kept.x, kept.y);
      a[2 * half + 1] = scale_pair(a[2 * half + 1], kept.x, kept.y);
    }
  }

  /// Readers see keys up to their own token (r) or before it (a).
  __device__ __forceinline__ void mask(float (&c)[2][4]) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = g + i / 2 * 8, column = 8 * n + 2 * t + i % 2;
        if (column > row - (reader == kOfA ? 1 : 0)) c[n][i] = 0;
      }
    }
  }

  /// The block (I - c)^-1 - I in the place of c.
  __device__ __forceinline__ void solve(float (&c)[2][4]) const {
    float* const to = diagonal();
    const auto at = [&](int n, int i) {
      return to + (g + i / 2 * 8) * G::kBlockStride + 8 * n + 2 * t + i % 2;
    };
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) *at(n, i) = -c[n][i];
    }
    __syncwarp();
    invert_unit_block<G::kBlockStride>(to, lane);
    __syncwarp();
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool is_diagonal = g + i / 2 * 8 == 8 * n + 2 * t + i % 2;
        c[n][i] = is_diagonal ? 0.0F : *at(n, i);
      }
    }
  }

  __device__ __forceinline__ void make(RoundedScores<G::kKinds>& rounded) const {
    const uint32_t readers = base + G::kAtBlock + reader * G::kTile;
#pragma unroll
    for (int keys = 0; keys < 4; ++keys) {
      if (keys > block) continue;
      float c[G::kKinds][2][4] = {};
#pragma unroll
      for (int d = 0; d < kSize / 16; ++d) {
        uint32_t a[4], b[4];
        left_of<kSize>(a, readers, block, d);
        if (keys < block) fade(a, keys, 16 * d + 2 * t);
#pragma unroll
        for (int kind = 0; kind < G::kKinds; ++kind) {
          right_by_rows<kSize>(b, base + G::kAtBlock + (2 + first_kind + kind) * G::kTile, keys, d);
          multiply_pair(c[kind][0], c[kind][1], a, b);
        }
      }
#pragma unroll
      for (int kind = 0; kind < G::kKinds; ++kind) {
        if (keys == block) mask(c[kind]);
        if (keys == block && reader == kOfA && first_kind + kind == kOfB) solve(c[kind]);
        left_from(rounded.x[kind][keys], c[kind][0], c[kind][1]);
      }
    }
  }

  /// The scores into their squares in shared memory and, where `solver` and `of_reads` are given,
  /// what the gradients want of them into memory.
  __device__ __forceinline__ void store(const RoundedScores<G::kKinds>& rounded, char* solver,
                                        char* of_reads) const {
#pragma unroll
    for (int kind = 0; kind < G::kKinds; ++kind) {
      const int key = first_kind + kind;
      char* const square = shared + G::kSquares + square_of(reader, key) * G::kSquare;
#pragma unroll
      for (int keys = 0; keys < 4; ++keys) {
        if (keys > block) continue;
        const uint32_t(&x)[4] = rounded.x[kind][keys];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = 16 * block + g + i % 2 * 8;
          *reinterpret_cast<uint32_t*>(square + swizzled<2 * kChunk>(row, 2 * keys + i / 2) +
                                       4 * t) = x[i];
        }
        if (solver == nullptr || key != kOfB) continue;
        char* const to =
            (reader == kOfA ? solver : of_reads) + (16 * block + g) * (2 * kChunk) + 32 * keys;
        store_halves(to, x[0], x[2], true);
        store_halves(to + 8 * (2 * kChunk), x[1], x[3], true);
      }
    }
  }
};

/// What a chunk's tokens make of 16 columns of [W, M a e^G'], transposed: a warp's.
template <int kSize>
struct ColumnMaker {
  using G = DplrPrepareGeometry<kSize>;
  uint32_t base;
  uint32_t x[4][4] = {};  // the rows of each block of 16 tokens, left factors
  int column;             // in units of 16
  bool is_of_values;      // columns of W

  __device__ __forceinline__ ColumnMaker(uint32_t at, int item)
      : base(at), column(item < 4 ? item : item - 4), is_of_values(item < 4) {}

  __device__ __forceinline__ uint32_t square(int reader, int key) const {
    return base + G::kSquares + square_of(reader, key) * G::kSquare;
  }
  __device__ __forceinline__ bool is_empty(int block) const {
    return is_of_values && block < column;
  }

  /// c <- what readers have of themselves, plus their scores with b times x.
  __device__ __forceinline__ void start(float (&c)[2][4], int reader, int block) const {
    uint32_t a[4];
    if (is_of_values) {
      left_transposed<kChunk>(a, square(reader, kOfK), column, block);
    } else {
      left_transposed<kSize>(a, base + G::kAtEnds + reader * G::kTile, column, block);
    }
    widen(c[0], c[1], a);
  }
  __device__ __forceinline__ void add(float (&c)[2][4], const uint32_t (&a)[4], int reader,
                                      int block, int keys) const {
    uint32_t b[4];
    right_by_rows<kChunk>(b, square(reader, kOfB), block, keys);
    multiply_pair(c[0], c[1], a, b);
  }

  __device__ __forceinline__ void solve() {
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      if (is_empty(block)) continue;
      float c[2][4];
      start(c, kOfA, block);
#pragma unroll
      for (int keys = 0; keys < block; ++keys) {
        if (!is_empty(keys)) add(c, x[keys], kOfA, block, keys);
      }
      uint32_t sum[4];
      left_from(sum, c[0], c[1]);
      add(c, sum, kOfA, block, block);
      left_from(x[block], c[0], c[1]);
    }
  }

  /// x and what queries make of it, to rows of tokens; null: not wanted.
  __device__ __forceinline__ void store(char* rows, char* queries) const {
    const int64_t stride = is_of_values ? 2 * kChunk : 2 * kSize;
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      if (is_empty(block)) continue;
      const int64_t to = 16 * block * stride + 32 * column;
      if (rows != nullptr) store_by_token(rows + to, stride, x[block], 16);
      float c[2][4];
      start(c, kOfR, block);
#pragma unroll
      for (int keys = 0; keys <= block; ++keys) {
        if (!is_empty(keys)) add(c, x[keys], kOfR, block, keys);
      }
      uint32_t a[4];
      left_from(a, c[0], c[1]);
      store_by_token(queries + to, stride, a, 16);
    }
  }

  /// k e^(G_C - G) + W^T (b e^(G_C - G)) of the 16 tokens that are W's columns.
  __device__ __forceinline__ void store_keys(char* keys) const {
    const int g = threadIdx.x % 32 / 4;
#pragma unroll 1
    for (int n = 0; n < kSize / 16; ++n) {
      uint32_t a[4], b[4];
      float c[2][4];
      left_of<kSize>(a, base + G::kAtEnds + 3 * G::kTile, column, n);
      widen(c[0], c[1], a);
#pragma unroll
      for (int block = 0; block < 4; ++block) {
        if (is_empty(block)) continue;
        right_by_columns<kSize>(b, base + G::kAtEnds + 2 * G::kTile, n, block);
        multiply_pair(c[0], c[1], x[block], b);
      }
      left_from(a, c[0], c[1]);
      char* const to = keys + (16 * column + g) * (2 * kSize) + 32 * n;
      store_halves(to, a[0], a[2], true);
      store_halves(to + 8 * (2 * kSize), a[1], a[3], true);
    }
  }
};

template <int kSize>
__global__ void __launch_bounds__(kTokenThreads<kSize>, kSize == 64 ? 3 : 1)
    prepare_kernel(const __grid_constant__ DplrWork work, const bool is_backward) {
  using G = DplrPrepareGeometry<kSize>;
  extern __shared__ __align__(128) char shared[];
  const int64_t head = blockIdx.x, chunk = blockIdx.y;
  const int64_t piece = head * work.scratch.chunks + chunk;
  const int64_t tile = piece * G::kTile, square = piece * G::kSquare;
  const DplrScratch& to = work.scratch;
  write_tokens<kSize>(work, tokens_of(work.p, head, chunk), piece, shared);
  __syncthreads();
  write_fades<kSize>(shared);
  __syncthreads();
  {
    const ScoreMaker<kSize> maker(shared);
    RoundedScores<G::kKinds> rounded = {};
    maker.make(rounded);
    __syncthreads();  // scores take the place of what they were made of
    maker.store(rounded, is_backward ? to.solver + square : nullptr, to.of_reads + square);
  }
  __syncthreads();
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < 4 + kSize / 16; item += G::kWarps) {
    ColumnMaker<kSize> columns(shared_address(shared), item);
    columns.solve();
    if (columns.is_of_values) {
      columns.store(is_backward ? to.of_values + square : nullptr, to.scores + square);
      columns.store_keys(to.keys + tile);
    } else {
      columns.store(to.readers + tile, to.queries + tile);
    }
  }
}

template <int kSize>
Status launch(const DplrWork& work, bool is_backward, Stream stream) {
  using G = DplrPrepareGeometry<kSize>;
  const auto kernel = prepare_kernel<kSize>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::kBytes);
  if (error != cudaSuccess) return status_of(error);
  // Heads of the same tokens side by side: their rows are neighbours in memory.
  const dim3 blocks(static_cast<unsigned>(work.p.batch * work.p.heads),
                    static_cast<unsigned>(work.scratch.chunks));
  kernel<<<blocks, G::kThreads, G::kBytes, cuda_stream(stream)>>>(work, is_backward);
  return launch_status();
}

}  // namespace

int64_t prepare_dplr_bytes(int64_t size) {
  return size == 64 ? DplrPrepareGeometry<64>::kBytes : DplrPrepareGeometry<128>::kBytes;
}

Status prepare_dplr(const DplrWork& work, bool is_backward, Stream stream) {
  return work.p.size == 64 ? launch<64>(work, is_backward, stream)
                           : launch<128>(work, is_backward, stream);
}

}  // namespace hypenet::kernels::cuda
