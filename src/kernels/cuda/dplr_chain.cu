// The chunks of a head one after the other, forward for S and backward for dS: the same sums with
// readers and writers exchanged. All products are transposed, so that a warp's state is a left
// factor as it lies in its registers.
#include "kernels/cuda/delta_rule_chain.cuh"
#include "kernels/cuda/dplr.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// S <- diag(across) S + writers^T (readers S) + takers^T values;
/// o = queries S + scores values, of S before the chunk.
struct DplrChain {
  DplrParams p;                            // sizes
  const char *readers, *writers, *takers;  // [64, d]
  const char *queries, *scores;            // [64, d], [64, 64]
  const float* across;
  const void* values;  // bfloat16 [B, T, H, d]
  const float* first;  // [B, H, d, d], or null: zero
  float* last;         // or null
  char* states;        // S^T before each chunk
  int64_t chunks;
  bool is_reversed;
};

/// kRows groups of kSplit warps. A group owns 16 columns of the state; its warps share tokens and
/// channels of every product.
template <int kSize, bool kLeaves, int kRows, int kSplit>
struct DplrGeometry {
  static constexpr int kThreads = 32 * kRows * kSplit;
  static constexpr int kColumns = 16 * kRows;
  static constexpr int kTile = kChunk * kSize * 2;
  static constexpr int kSquare = kChunk * kChunk * 2;
  static constexpr int kValueRow = 2 * kColumns + 16;
  // A stage.
  static constexpr int kReaders = 0;
  static constexpr int kWriters = kTile;
  static constexpr int kTakers = 2 * kTile;
  static constexpr int kQueries = 3 * kTile;
  static constexpr int kScores = kQueries + (kLeaves ? 0 : kTile);
  static constexpr int kValues = kScores + (kLeaves ? 0 : kSquare);
  static constexpr int kAcross = kValues + kChunk * kValueRow;
  static constexpr int kStage = (kAcross + 4 * kSize + 127) / 128 * 128;
  // What the warps of a group tell each other: factors of 16 channels or tokens, 16 bytes a lane.
  static constexpr int kStateParts = kSize / 16, kTokenParts = kChunk / 16;
  static constexpr int kTold = kSplit == 1 ? 0 : kRows * (kStateParts + kTokenParts) * 512;
  static constexpr int kOwnTokens = kTokenParts / kSplit, kOwnChannels = kStateParts / kSplit;

  static constexpr int bytes(int stages) { return stages * kStage + kTold; }
};

/// Asks for what a chunk needs. A chunk that is not there is an empty group of copies.
template <class G, int kSize, bool kLeaves>
__device__ __forceinline__ void ask_chunk(const DplrChain& work, uint32_t stage, int64_t head,
                                          int64_t number, int first_column) {
  if (number < work.chunks) {
    const int64_t chunk = work.is_reversed ? work.chunks - 1 - number : number;
    const int64_t piece = head * work.chunks + chunk;
    const HeadTokens at = tokens_of(work.p, head, chunk);
    constexpr int kThreads = G::kThreads;
    const auto tile = [&](int to, const char* from) {
      ask_tile<kSize, kThreads>(stage + to, from + piece * G::kTile, 2 * kSize, kChunk);
    };
    tile(G::kReaders, work.readers);
    ask_padded<G::kColumns, kThreads>(
        stage + G::kValues,
        static_cast<const char*>(work.values) + 2 * (at.first * kSize + first_column),
        at.stride * kSize * 2, at.rows);
    tile(G::kTakers, work.takers);
    tile(G::kWriters, work.writers);
    if constexpr (!kLeaves) {
      tile(G::kQueries, work.queries);
      ask_tile<kChunk, kThreads>(stage + G::kScores, work.scores + piece * G::kSquare, 2 * kChunk,
                                 kChunk);
    }
    ask_floats<kSize, kThreads>(stage + G::kAcross, work.across + piece * kSize);
  }
  commit_copies();
}

/// The values of a group's columns out of a stage, transposed: a left factor of 16 tokens.
template <class G>
struct ValueFactor {
  uint32_t values;
  int group;

  __device__ __forceinline__ void get(uint32_t (&a)[4], int block) const {
    const int lane = threadIdx.x % 32, token = 16 * block + lane % 8 + lane / 16 * 8;
    load_transposed(a, values + token * G::kValueRow + 2 * (16 * group + lane / 8 % 2 * 8));
  }
};

/// The warp's tokens and columns of the output.
template <class G, int kSize>
__device__ __forceinline__ void store_output(const DplrParams& p,
                                             const float (&output)[2 * G::kOwnTokens][4],
                                             const HeadTokens& tokens, int column, int part) {
  char* const to = static_cast<char*>(p.output) + (tokens.first * kSize + column) * 2;
  const int64_t stride = tokens.stride * kSize * 2;
#pragma unroll
  for (int i = 0; i < G::kOwnTokens; ++i) {
    const int token = 16 * (part * G::kOwnTokens + i);
    uint32_t x[4];
    left_from(x, output[2 * i], output[2 * i + 1]);
    store_by_token(to + token * stride, stride, x, tokens.rows - token);
  }
}

/// state += x^T tile for the warp's channels, x a factor of all tokens.
template <class G, int kSize, class Factor>
__device__ __forceinline__ void add_written(float (&state)[2 * G::kOwnChannels][4], const Factor& x,
                                            uint32_t tile, int part) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    uint32_t a[4], b[4];
    x.get(a, j);
#pragma unroll
    for (int i = 0; i < G::kOwnChannels; ++i) {
      right_by_columns<kSize>(b, tile, part * G::kOwnChannels + i, j);
      multiply_pair(state[2 * i], state[2 * i + 1], a, b);
    }
  }
}

template <int kSize, bool kLeaves, int kRows, int kSplit>
__global__ void __launch_bounds__(32 * kRows * kSplit, kSize == 64 && kRows == 4 ? 2 : 1)
    chain_kernel(const __grid_constant__ DplrChain work, const int stages) {
  using G = DplrGeometry<kSize, kLeaves, kRows, kSplit>;
  extern __shared__ __align__(128) char shared[];
  const int warp = threadIdx.x / 32, t = threadIdx.x % 4;
  const int group = warp / kSplit, part = warp % kSplit;
  const int64_t head = blockIdx.x;
  const int slab = static_cast<int>(blockIdx.y) * G::kColumns, column = slab + 16 * group;
  const int first_channel = 16 * part * G::kOwnChannels;
  const uint32_t base = shared_address(shared);
  uint4* const told = reinterpret_cast<uint4*>(shared + stages * G::kStage) +
                      group * (G::kStateParts + G::kTokenParts) * 32;
  Told<G::kStateParts, kSplit> states{.all = told};
  Told<G::kTokenParts, kSplit> rows{.all = told + G::kStateParts * 32};

  float state[2 * G::kOwnChannels][4] = {};  // S^T, [16 columns, channels]
  const int64_t matrix = head * kSize * kSize;
  if (work.first != nullptr) {
    for_each_element(state, first_channel, column, [&](float& x, int row, int col) {
      x = work.first[matrix + row * kSize + col];
    });
  }
  for (int ahead = 0; ahead < stages - 1; ++ahead) {
    ask_chunk<G, kSize, kLeaves>(work, base + ahead * G::kStage, head, ahead, slab);
  }
  int stage = 0;
  for (int64_t number = 0; number < work.chunks; ++number) {
#pragma unroll
    for (int i = 0; i < G::kOwnChannels; ++i) {
      left_from(states.own[i], state[2 * i], state[2 * i + 1]);
    }
    states.tell(part);
    wait_for_stage(stages);
    ask_chunk<G, kSize, kLeaves>(work, base + (stage == 0 ? stages - 1 : stage - 1) * G::kStage,
                                 head, number + stages - 1, slab);
    const uint32_t at = base + stage * G::kStage;
    const float* const across =
        reinterpret_cast<const float*>(shared + stage * G::kStage + G::kAcross) + first_channel;
    stage = stage + 1 == stages ? 0 : stage + 1;
    const int64_t chunk = work.is_reversed ? work.chunks - 1 - number : number;
    if constexpr (kLeaves) {
      store_part<kSize>(work.states + (head * work.chunks + chunk) * (2 * kSize * kSize),
                        states.own, column, first_channel);
    }

    // What the state says of readers and queries.
    float read[2 * G::kOwnTokens][4] = {}, output[2 * G::kOwnTokens][4] = {};
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4], b[4];
      states.get(a, d);
#pragma unroll
      for (int i = 0; i < G::kOwnTokens; ++i) {
        const int block = part * G::kOwnTokens + i;
        right_by_rows<kSize>(b, at + G::kReaders, block, d);
        multiply_pair(read[2 * i], read[2 * i + 1], a, b);
        if constexpr (!kLeaves) {
          right_by_rows<kSize>(b, at + G::kQueries, block, d);
          multiply_pair(output[2 * i], output[2 * i + 1], a, b);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) left_from(rows.own[i], read[2 * i], read[2 * i + 1]);
    rows.tell(part);
#pragma unroll
    for (int n = 0; n < 2 * G::kOwnChannels; ++n) {
      scale_pairs(state[n], *reinterpret_cast<const float2*>(across + 8 * n + 2 * t));
    }
    const ValueFactor<G> values{at + G::kValues, group};
    add_written<G, kSize>(state, values, at + G::kTakers, part);
    meet<kSplit>(group);
    add_written<G, kSize>(state, rows, at + G::kWriters, part);
    if constexpr (!kLeaves) {
      add_up_to<G>(output, values, at + G::kScores, part);
      store_output<G, kSize>(work.p, output, tokens_of(work.p, head, chunk), column, part);
    }
  }
  if (work.last != nullptr) {
    for_each_element(state, first_channel, column, [&](float& x, int row, int col) {
      work.last[matrix + row * kSize + col] = x;
    });
  }
}

template <int kSize, bool kLeaves, int kRows, int kSplit>
Status launch(const DplrChain& work, Stream stream) {
  using G = DplrGeometry<kSize, kLeaves, kRows, kSplit>;
  const int64_t blocks = work.p.batch * work.p.heads * (kSize / G::kColumns);
  // A third stage where it costs no second block.
  const bool is_alone = blocks <= processors_of_device() || 2 * G::bytes(2) > shared_of_block();
  const int stages = is_alone && G::bytes(3) <= shared_of_block() ? 3 : 2;
  const auto kernel = chain_kernel<kSize, kLeaves, kRows, kSplit>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::bytes(stages));
  if (error != cudaSuccess) return status_of(error);
  const dim3 grid(static_cast<unsigned>(work.p.batch * work.p.heads), kSize / G::kColumns);
  kernel<<<grid, G::kThreads, G::bytes(stages), cuda_stream(stream)>>>(work, stages);
  return launch_status();
}

template <int kSize, bool kLeaves>
Status launch_slabs(const DplrChain& work, Stream stream) {
  // Narrower slabs while all of their blocks run at once.
  const int64_t heads = work.p.batch * work.p.heads, processors = processors_of_device();
  if (heads * (kSize / 16) <= processors) return launch<kSize, kLeaves, 1, 4>(work, stream);
  if (heads * (kSize / 32) <= processors) return launch<kSize, kLeaves, 2, 4>(work, stream);
  return launch<kSize, kLeaves, 4, 1>(work, stream);
}

template <int kSize>
Status launch_ends(const DplrChain& work, bool leaves_states, Stream stream) {
  return leaves_states ? launch_slabs<kSize, true>(work, stream)
                       : launch_slabs<kSize, false>(work, stream);
}

Status launch_size(const DplrChain& work, bool leaves_states, Stream stream) {
  return work.p.size == 64 ? launch_ends<64>(work, leaves_states, stream)
                           : launch_ends<128>(work, leaves_states, stream);
}

}  // namespace

int64_t chain_dplr_bytes(int64_t size) {
  return size == 64 ? DplrGeometry<64, false, 4, 1>::bytes(2)
                    : DplrGeometry<128, false, 4, 1>::bytes(2);
}

Status chain_dplr(const DplrWork& work, bool leaves_states, Stream stream) {
  const DplrScratch& from = work.scratch;
  const DplrChain chain{.p = work.p,
                        .readers = from.readers,
                        .writers = from.writers,
                        .takers = from.keys,
                        .queries = from.queries,
                        .scores = from.scores,
                        .across = from.across,
                        .values = work.p.v,
                        .first = work.p.given,
                        .last = leaves_states ? nullptr : work.p.final_state,
                        .states = from.states,
                        .chunks = from.chunks,
                        .is_reversed = false};
  return launch_size(chain, leaves_states, stream);
}

Status chain_dplr_backward(const DplrBackwardWork& work, Stream stream) {
  const DplrScratch& from = work.scratch;
  const DplrChain chain{.p = work.p.forward,
                        .readers = from.writers,
                        .writers = from.readers,
                        .takers = from.queries,
                        .queries = nullptr,
                        .scores = nullptr,
                        .across = from.across,
                        .values = work.p.doutput,
                        .first = work.p.dfinal,
                        .last = work.p.dgiven,
                        .states = from.dstates,
                        .chunks = from.chunks,
                        .is_reversed = true};
  return launch_size(chain, true, stream);
}

}  // namespace hypenet::kernels::cuda
