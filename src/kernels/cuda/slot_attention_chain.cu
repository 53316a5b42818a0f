// The slots before each chunk and, backwards, their gradients after each: a block takes 32 columns
// of a head's keys or values through all chunks, 16 slots a warp.
#include "kernels/cuda/slot_attention.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128, kColumns = 32;
constexpr int kLeftBytes = kChunk * kSlots * 2;
constexpr int kRow = 2 * kColumns + 16;  // of a token's columns, padded
constexpr int kKept = (1 + kBlocks) * kSlots;

/// Stages of a block's shared memory: as many as let the blocks of eight sequences run at once.
template <bool kBackward>
struct ChainStages {
  static constexpr int kCount = kBackward ? 3 : 4;
  static constexpr int kFloats = kBackward ? kKept : kSlots;  // of kept, that are read
  static constexpr int kStage = kLeftBytes + kChunk * kRow + 4 * kFloats;
  static constexpr int kBytes = kCount * kStage;
};

/// What one direction of the chain reads and writes, of keys (0) and values (1).
struct SlotChain {
  SlotAttentionSizes sizes;
  int64_t chunks;
  const char* left[2];  // [B, G or H, N, 64, 64]
  const float* kept;
  const void* rows[2];  // bfloat16, k and v, or q and do
  char* states[2];      // [B, G, N, 64, d]
  const float* start[2];
  float* end[2];
};

/// Element (slot, column) of a head's slots in the layout of the op: keys [d, M], values [M, d].
template <int kSize>
__device__ __forceinline__ int64_t slot_index(const SlotAttentionSizes& s, int64_t head, int kind,
                                              int slot, int column) {
  return kind == 0 ? (head * kSize + column) * s.slots + slot
                   : (head * s.slots + slot) * kSize + column;
}

template <int kSize, bool kBackward>
struct ChainBlock {
  static constexpr int kOfRow = kColumns / 8, kStep = kThreads / kOfRow;  // pieces, rows at once

  const SlotChain& p;
  int kind, first_column, group, chunks, steps;
  int64_t head;
  // Where a thread's part of the first chunk's first row is, and how far rows and chunks are apart.
  const char* own_row;
  int64_t row_bytes, chunk_bytes;
  int64_t first, tokens;  // of a chunk's first row; of the tensor

  __device__ __forceinline__ explicit ChainBlock(const SlotChain& chain)
      : p(chain),
        kind(blockIdx.z),
        first_column(blockIdx.x * kColumns),
        group(kBackward ? static_cast<int>(p.sizes.heads / p.sizes.key_heads) : 1),
        chunks(static_cast<int>(p.chunks)),
        steps(chunks * group),
        head(blockIdx.y) {
    const SlotAttentionSizes& s = p.sizes;
    const auto b = static_cast<int64_t>(blockIdx.y / static_cast<unsigned>(s.key_heads));
    const auto g = static_cast<int64_t>(blockIdx.y % static_cast<unsigned>(s.key_heads));
    const int64_t heads = kBackward ? s.heads : s.key_heads;
    first = kBackward ? 0 : s.past - s.window;
    tokens = kBackward ? s.tokens : s.past + s.tokens;
    row_bytes = heads * kSize * 2, chunk_bytes = kChunk * row_bytes;
    const int row = threadIdx.x / kOfRow, piece = threadIdx.x % kOfRow;
    own_row =
        static_cast<const char*>(p.rows[kind]) +
        (((b * tokens + first + row) * heads + g * group) * kSize + first_column + 8 * piece) * 2;
  }

  /// A chunk that is not there is an empty group of copies.
  __device__ __forceinline__ void ask(uint32_t stage, int n, int of_group) const {
    if (n < chunks) {
      const int chunk = kBackward ? chunks - 1 - n : n;
      ask_piece<kSlots>(stage, p.left[kind], (head * group + of_group) * p.chunks + chunk);
      const RowRange range =
          rows_within(first + static_cast<int64_t>(chunk) * kChunk, tokens, kChunk);
      const char* from = own_row + chunk * chunk_bytes + of_group * (kSize * 2);
      const int row = threadIdx.x / kOfRow;
      const uint32_t to = stage + kLeftBytes + row * kRow + 16 * (threadIdx.x % kOfRow);
#pragma unroll
      for (int i = 0; i < kChunk; i += kStep) {
        const bool valid = row + i >= range.begin && row + i < range.end;
        copy_async(to + i * kRow, valid ? from + i * row_bytes : p.rows[kind], valid);
      }
      ask_floats<ChainStages<kBackward>::kFloats, kThreads>(
          stage + kLeftBytes + kChunk * kRow, p.kept + (head * p.chunks + chunk) * kKept);
    }
    commit_copies();
  }
};

template <int kSize, bool kBackward>
__global__ void __launch_bounds__(kThreads) chain_kernel(const __grid_constant__ SlotChain chain) {
  constexpr int kStages = ChainStages<kBackward>::kCount, kStage = ChainStages<kBackward>::kStage;
  extern __shared__ __align__(128) char shared[];
  const uint32_t base = shared_address(shared);
  const ChainBlock<kSize, kBackward> block(chain);
  const SlotWarp own;
  const int kind = block.kind;
  float state[kColumns / 8][4];
  clear(state);
  const auto visit = [&](const auto& use) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int slot = own.row(i), column = block.first_column + 8 * n + 2 * own.t + i % 2;
        if (slot < chain.sizes.slots) {
          use(state[n][i], slot_index<kSize>(chain.sizes, block.head, kind, slot, column));
        }
      }
    }
  };
  if (chain.start[kind] != nullptr) {
    visit([&](float& x, int64_t index) { x = chain.start[kind][index]; });
  }
  int asked = 0, asked_head = 0, stage = 0, chunk = 0, of_group = 0;
  const auto ask = [&](int place) {
    block.ask(base + place * kStage, asked, asked_head);
    if (++asked_head == block.group) asked_head = 0, ++asked;
  };
  for (int i = 0; i < kStages - 1; ++i) ask(i);
  for (int step = 0; step < block.steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();
    ask(stage == 0 ? kStages - 1 : stage - 1);
    const uint32_t left = base + stage * kStage, rows = left + kLeftBytes;
    const float* const kept =
        reinterpret_cast<const float*>(shared + stage * kStage + kLeftBytes + kChunk * kRow);
    if (++stage == kStages) stage = 0;
    if (of_group == 0) {
      const int64_t piece =
          block.head * chain.chunks + (kBackward ? block.chunks - 1 - chunk : chunk);
      char* const to = chain.states[kind] + (piece * kSlots * kSize + block.first_column) * 2;
#pragma unroll
      for (int n = 0; n < kColumns / 8; n += 2) {
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
          store_halves(to + own.row(i) * (2 * kSize) + 16 * n, pack(state[n][i], state[n][i + 1]),
                       pack(state[n + 1][i], state[n + 1][i + 1]), true);
        }
      }
      const float low = kept[own.row(0)], high = kept[own.row(2)];
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        state[n][0] *= low, state[n][1] *= low, state[n][2] *= high, state[n][3] *= high;
      }
    }
    if (++of_group == block.group) of_group = 0, ++chunk;
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      uint32_t a[4], b[4];
      left_transposed<kSlots>(a, left, own.block, k);
      if (kBackward) {
        const float low = kept[(1 + k) * kSlots + own.row(0)];
        const float high = kept[(1 + k) * kSlots + own.row(2)];
        a[0] = scale_pair(a[0], low, low), a[1] = scale_pair(a[1], high, high);
        a[2] = scale_pair(a[2], low, low), a[3] = scale_pair(a[3], high, high);
      }
#pragma unroll
      for (int n = 0; n < kColumns / 16; ++n) {
        load_transposed(b, rows + (16 * k + own.lane % 16) * kRow + 16 * (2 * n + own.lane / 16));
        multiply_pair(state[2 * n], state[2 * n + 1], a, b);
      }
    }
  }
  if (chain.end[kind] != nullptr) {
    visit([&](float& x, int64_t index) { chain.end[kind][index] = x; });
  }
}

template <int kSize, bool kBackward>
Status launch_chain(const SlotChain& chain, Stream stream) {
  const auto kernel = chain_kernel<kSize, kBackward>;
  constexpr int kBytes = ChainStages<kBackward>::kBytes;
  const Status status =
      status_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  if (!status.ok()) return status;
  const dim3 blocks(kSize / kColumns,
                    static_cast<unsigned>(chain.sizes.batch * chain.sizes.key_heads), 2);
  kernel<<<blocks, kThreads, kBytes, cuda_stream(stream)>>>(chain);
  return launch_status();
}

}  // namespace

Status chain_slots(const SlotWork& work, Stream stream) {
  const SlotAttentionParams& p = work.p;
  const SlotScratch& scratch = work.scratch;
  const SlotChain chain{.sizes = p.sizes,
                        .chunks = scratch.chunks,
                        .left = {scratch.left, scratch.left},
                        .kept = scratch.kept,
                        .rows = {p.k, p.v},
                        .states = {scratch.keys, scratch.values},
                        .start = {p.given_keys, p.given_values},
                        .end = {p.final_keys, p.final_values}};
  return p.sizes.size == 64 ? launch_chain<64, false>(chain, stream)
                            : launch_chain<128, false>(chain, stream);
}

Status chain_slots_backward(const SlotBackwardWork& work, Stream stream) {
  const SlotAttentionParams& p = work.p.forward;
  const SlotScratch& scratch = work.scratch;
  const SlotChain chain{.sizes = p.sizes,
                        .chunks = scratch.chunks,
                        .left = {scratch.dscores, scratch.weights},
                        .kept = scratch.kept,
                        .rows = {p.q, work.p.doutput},
                        .states = {scratch.dkeys, scratch.dvalues},
                        .start = {work.p.dfinal_keys, work.p.dfinal_values},
                        .end = {work.p.dgiven_keys, work.p.dgiven_values}};
  return p.sizes.size == 64 ? launch_chain<64, true>(chain, stream)
                            : launch_chain<128, true>(chain, stream);
}

}  // namespace hypenet::kernels::cuda
