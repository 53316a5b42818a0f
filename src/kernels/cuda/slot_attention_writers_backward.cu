// The gradients that tokens have as keys: of k, rotated k, v and the decay. Four warps follow the
// slots, four the window; a warp has 16 tokens.
#include "kernels/cuda/slot_attention.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kWriterThreads = 256;

template <int kSize>
struct WriterTiles {
  static constexpr int kTile = kChunk * kSize * 2, kSquare = kChunk * kSlots * 2;
  static constexpr int kKeys = 0;
  static constexpr int kRotatedKeys = kKeys + kTile;
  static constexpr int kValues = kRotatedKeys + kTile;
  static constexpr int kDkeys = kValues + kTile;  // of the slots after the chunk
  static constexpr int kDvalues = kDkeys + kTile;
  static constexpr int kWritten = kDvalues + kTile;
  static constexpr int kSums = kWritten + FadeTable::kWritten;  // F, then the writers' gradients
  // Of one query head. The two of 128 rows begin a chunk earlier.
  static constexpr int kQueries = kSums + FadeTable::kSums;
  static constexpr int kRotatedQueries = kQueries + kTile;
  static constexpr int kDoutput = kRotatedQueries + 2 * kTile;
  static constexpr int kDscores = kDoutput + 2 * kTile;
  static constexpr int kWeights = kDscores + kSquare;
  static constexpr int kLogSums = kWeights + kSquare;
  static constexpr int kDeltas = kLogSums + 4 * kTileRows;
  // Of each slot: e^F times what the slots before have, tails of a warp's tokens, sums of a block.
  static constexpr int kStarts = kDeltas + 4 * kTileRows;
  static constexpr int kTails = kStarts + 4 * kSlots;
  static constexpr int kTotals = kTails + 4 * kBlocks * kSlots;
  static constexpr int kBytes = kTotals + 4 * kBlocks * kSlots;
  // At the end.
  static constexpr int kLeft = kDscores;
  static constexpr int kExchange = kRotatedQueries;
  static_assert(4 * kSize / 8 * 32 * 16 <= 2 * kTile);
};

/// A head's tiles, by all threads, with barriers on both sides.
template <int kSize>
__device__ __forceinline__ void ask_head(const SlotBackwardWork& work, const SlotBlock& at,
                                         char* shared, int of_group) {
  using L = WriterTiles<kSize>;
  const SlotAttentionParams& p = work.p.forward;
  const uint32_t base = shared_address(shared);
  const int64_t first = at.chunk * kChunk, before = first - kChunk;
  __syncthreads();
  ask_queries<kSize>(base + L::kQueries, p.q, p.sizes, at, of_group, first, kChunk);
  ask_queries<kSize>(base + L::kRotatedQueries, p.rotated_q, p.sizes, at, of_group, before,
                     kTileRows);
  ask_queries<kSize>(base + L::kDoutput, work.p.doutput, p.sizes, at, of_group, before, kTileRows);
  if (at.chunk < work.scratch.chunks) {
    const int64_t piece = at.query_piece(work.scratch.chunks, of_group);
    ask_piece<kSlots>(base + L::kDscores, work.scratch.dscores, piece);
    ask_piece<kSlots>(base + L::kWeights, work.scratch.weights, piece);
  }
  commit_copies();
  const int row = static_cast<int>(threadIdx.x);
  if (row < kTileRows) {
    const int64_t token = before + row;
    const bool valid = token >= 0 && token < p.sizes.tokens;
    const int64_t head = (at.head * at.group + of_group) * work.scratch.chunks * kChunk;
    reinterpret_cast<float*>(shared + L::kLogSums)[row] =
        valid ? p.log_sums[head + token] : INFINITY;
    reinterpret_cast<float*>(shared + L::kDeltas)[row] =
        valid ? work.scratch.deltas[head + token] : 0.0F;
  }
  wait_copies<0>();
  __syncthreads();
}

/// The window's part: dv and the gradient of rotated k, of a warp's 16 tokens.
template <int kSize>
struct WindowWriter {
  float dv[kSize / 8][4], dkeys[kSize / 8][4];
  SlotWarp own;

  __device__ __forceinline__ WindowWriter() { clear(dv), clear(dkeys); }

  __device__ __forceinline__ void add_head(const SlotAttentionParams& p, const SlotBlock& at,
                                           const char* shared) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared);
    const float* const log_sums = reinterpret_cast<const float*>(shared + L::kLogSums);
    const float* const deltas = reinterpret_cast<const float*>(shared + L::kDeltas);
    const int64_t first = p.first_key != nullptr ? p.first_key[at.b] : p.sizes.past;
    const int window = static_cast<int>(p.sizes.window);
#pragma unroll 1
    for (int j = 0; j < kWindowBlocks; ++j) {
      float scores[2][4], dweights[2][4];
      clear(scores), clear(dweights);
      uint32_t a[4], b[4];
#pragma unroll
      for (int k = 0; k < kSize / 16; ++k) {
        left_of<kSize>(a, base + L::kRotatedKeys, own.block, k);
        right_by_rows<kSize>(b, base + L::kRotatedQueries, own.block + j, k);
        multiply_pair(scores[0], scores[1], a, b);
        left_of<kSize>(a, base + L::kValues, own.block, k);
        right_by_rows<kSize>(b, base + L::kDoutput, own.block + j, k);
        multiply_pair(dweights[0], dweights[1], a, b);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = own.row(i), place = 16 * (own.block + j) + 8 * n + 2 * own.t + i % 2;
          const int reader = place - kChunk;
          const bool sees =
              key > reader && key <= reader + window && at.first_token() + key >= first;
          const float x = scores[n][i] * (p.scale * kBits) - log_sums[place];
          scores[n][i] = sees ? exp2f(x) : 0.0F;
          dweights[n][i] = scores[n][i] * p.scale * (dweights[n][i] - deltas[place]);
        }
      }
      left_from(a, scores[0], scores[1]);
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, base + L::kDoutput, n, own.block + j);
        multiply_pair(dv[2 * n], dv[2 * n + 1], a, b);
      }
      left_from(a, dweights[0], dweights[1]);
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, base + L::kRotatedQueries, n, own.block + j);
        multiply_pair(dkeys[2 * n], dkeys[2 * n + 1], a, b);
      }
    }
  }
};

/// Keeps, of a diagonal block of writers and readers, readers from the writer on.
__device__ __forceinline__ void keep_future(float (&x)[2][4], const SlotWarp& own) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (8 * n + 2 * own.t + i % 2 < own.g + i / 2 * 8) x[n][i] = 0;
    }
  }
}

/// The slots' part, of a warp's 16 tokens: dk, dv, and the gradient of what they wrote times it.
template <int kSize>
struct SlotWriter {
  float dk[kSize / 8][4], dv[kSize / 8][4], written[kSlots / 8][4];
  SlotWarp own;

  __device__ __forceinline__ SlotWriter() { clear(dk), clear(dv), clear(written); }

  /// sums [16, 64] += (tokens . readers^T, readers from the token on) numbers.
  static __device__ __forceinline__ void gather(float (&sums)[kSlots / 8][4], uint32_t tokens,
                                                uint32_t readers, uint32_t numbers, int block,
                                                int reader_block, const SlotWarp& own) {
    float scores[2][4];
    clear(scores);
    uint32_t a[4], b[4];
#pragma unroll
    for (int k = 0; k < kSize / 16; ++k) {
      left_of<kSize>(a, tokens, own.block, k);
      right_by_rows<kSize>(b, readers, reader_block, k);
      multiply_pair(scores[0], scores[1], a, b);
    }
    if (block == own.block) keep_future(scores, own);
    left_from(a, scores[0], scores[1]);
#pragma unroll
    for (int n = 0; n < kSlots / 16; ++n) {
      right_by_columns<kSlots>(b, numbers, n, block);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
    }
  }

  /// sums [16, d] += (written . numbers^T, likewise) readers.
  static __device__ __forceinline__ void spread(float (&sums)[kSize / 8][4], uint32_t written,
                                                uint32_t readers, uint32_t numbers, int block,
                                                int reader_block, const SlotWarp& own) {
    float scores[2][4];
    clear(scores);
    uint32_t a[4], b[4];
#pragma unroll
    for (int k = 0; k < kSlots / 16; ++k) {
      left_of<kSlots>(a, written, 0, k);
      right_by_rows<kSlots>(b, numbers, block, k);
      multiply_pair(scores[0], scores[1], a, b);
    }
    if (block == own.block) keep_future(scores, own);
    left_from(a, scores[0], scores[1]);
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      right_by_columns<kSize>(b, readers, n, reader_block);
      multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
    }
  }

  __device__ __forceinline__ void add_head(const char* shared) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared);
#pragma unroll 1
    for (int block = own.block; block < kBlocks; ++block) {
      const uint32_t table = L::kWritten + FadeTable::offset(block, own.block);
      float sums[kSlots / 8][4];
      clear(sums);
      gather(sums, base + L::kKeys, base + L::kQueries, base + L::kDscores, block, block, own);
      gather(sums, base + L::kValues, base + L::kDoutput, base + L::kWeights, block,
             kBlocks + block, own);
      for_each_slots(own, [&](int n, int i, int row, int slot) {
        const float2 x = pair_of(*reinterpret_cast<const uint32_t*>(
            shared + table + swizzled<2 * kSlots>(row % 16, slot / 8) + slot % 8 * 2));
        written[n][i] += x.x * sums[n][i], written[n][i + 1] += x.y * sums[n][i + 1];
      });
      spread(dk, base + table, base + L::kQueries, base + L::kDscores, block, block, own);
      spread(dv, base + table, base + L::kDoutput, base + L::kWeights, block, kBlocks + block, own);
    }
  }

  /// What later chunks read of the tokens; leaves the sums of `tails` over them.
  __device__ __forceinline__ void add_later(const char* shared, float* tails) {
    using L = WriterTiles<kSize>;
    const uint32_t base = shared_address(shared);
    uint32_t a[4], b[4];
#pragma unroll
    for (int k = 0; k < kSlots / 16; ++k) {
      left_of<kSlots>(a, base + L::kLeft, own.block, k);
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, base + L::kDkeys, n, k);
        multiply_pair(dk[2 * n], dk[2 * n + 1], a, b);
        right_by_columns<kSize>(b, base + L::kDvalues, n, k);
        multiply_pair(dv[2 * n], dv[2 * n + 1], a, b);
      }
    }
    float sums[kSlots / 8][4];
    clear(sums);
#pragma unroll
    for (int k = 0; k < kSize / 16; ++k) {
      uint32_t v[4];
      left_of<kSize>(a, base + L::kKeys, own.block, k);
      left_of<kSize>(v, base + L::kValues, own.block, k);
#pragma unroll
      for (int n = 0; n < kSlots / 16; ++n) {
        right_by_rows<kSize>(b, base + L::kDkeys, n, k);
        multiply_pair(sums[2 * n], sums[2 * n + 1], a, b);
        right_by_rows<kSize>(b, base + L::kDvalues, n, k);
        multiply_pair(sums[2 * n], sums[2 * n + 1], v, b);
      }
    }
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 x = pair_of(*reinterpret_cast<const uint32_t*>(
          shared + L::kLeft + swizzled<2 * kSlots>(row, slot / 8) + slot % 8 * 2));
      sums[n][i] *= x.x, sums[n][i + 1] *= x.y;
      written[n][i] += sums[n][i], written[n][i + 1] += sums[n][i + 1];
    });
#pragma unroll
    for (int n = 0; n < kSlots / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float total = sums[n][e] + sums[n][2 + e];
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) {
          total += __shfl_xor_sync(~0U, total, offset);
        }
        if (own.g == 0) tails[own.block * kSlots + 8 * n + 2 * own.t + e] = total;
      }
    }
  }
};

/// exp(F) at the chunk's end times the product of a slot at its start and its gradient at its end:
/// four threads a slot.
template <int kSize>
__device__ __forceinline__ void multiply_slots(const SlotBackwardWork& work, const SlotBlock& at,
                                               char* shared) {
  using L = WriterTiles<kSize>;
  const int slot = static_cast<int>(threadIdx.x) / 4, quarter = static_cast<int>(threadIdx.x) % 4;
  const int64_t piece = at.piece(work.scratch.chunks);
  float sum = 0;
#pragma unroll
  for (int kind = 0; kind < 2; ++kind) {
    const char* const from = (kind == 0 ? work.scratch.keys : work.scratch.values) +
                             (piece * kSlots + slot) * (2 * kSize);
    const char* const with = shared + (kind == 0 ? L::kDkeys : L::kDvalues);
#pragma unroll
    for (int i = quarter; i < kSize / 8; i += 4) {
      const uint4 x = __ldg(reinterpret_cast<const uint4*>(from) + i);
      const uint4 y = *reinterpret_cast<const uint4*>(with + swizzled<2 * kSize>(slot, i));
      const uint32_t xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float2 u = pair_of(xs[e]), v = pair_of(ys[e]);
        sum += u.x * v.x + u.y * v.y;
      }
    }
  }
  sum += __shfl_xor_sync(~0U, sum, 1);
  sum += __shfl_xor_sync(~0U, sum, 2);
  if (quarter == 0) {
    reinterpret_cast<float*>(shared + L::kStarts)[slot] =
        sum * work.scratch.kept[piece * (1 + kBlocks) * kSlots + slot];
  }
}

/// The gradient of the decay from those of writers and readers, a slot of 16 tokens a thread: all
/// pairs of a writer before a token and a reader from it on fade by its decay.
template <int kSize>
__device__ __forceinline__ void store_decays(const SlotBackwardWork& work, const SlotBlock& at,
                                             char* shared) {
  using L = WriterTiles<kSize>;
  const SlotAttentionSizes& s = work.p.forward.sizes;
  FadedBlock own;
  own.load({work.p.forward, work.scratch}, at, static_cast<int>(threadIdx.x));
  const float* const written = reinterpret_cast<const float*>(shared + L::kSums) +
                               16 * own.block * FadeTable::kStride + own.slot;
  const float* const reads = work.scratch.reads +
                             (at.piece(work.scratch.chunks) * kChunk + 16 * own.block) * kSlots +
                             own.slot;
  float* const totals = reinterpret_cast<float*>(shared + L::kTotals);
  float gradients[16], total = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    gradients[i] = reads[i * kSlots] - written[i * FadeTable::kStride];
    total += gradients[i];
  }
  totals[own.block * kSlots + own.slot] = total;
  __syncthreads();
  float sum = reinterpret_cast<const float*>(shared + L::kStarts)[own.slot];
  for (int b = 0; b < kBlocks; ++b) {
    sum += reinterpret_cast<const float*>(shared + L::kTails)[b * kSlots + own.slot];
  }
  for (int b = own.block + 1; b < kBlocks; ++b) sum += totals[b * kSlots + own.slot];
  const int64_t first = at.first_token() + 16 * own.block;
  const RowRange range = rows_within(first, s.past + s.tokens - s.window, 16);
  const RowRange all = rows_within(first, s.past + s.tokens, 16);
  float* const to = work.p.ddecay + at.key_row(s, first) * s.slots + own.slot;
#pragma unroll
  for (int i = 15; i >= 0; --i) {
    sum += gradients[i];
    const float share = own.share(i);
    float x = written[i * FadeTable::kStride] / share * expf(-own.decay[i]);
    if (own.decay[i] < kMostFade) x -= sum;
    const bool enters = i >= range.begin && i < range.end;
    if (own.is_slot && i >= all.begin && i < all.end) {
      to[i * s.key_heads * s.slots] = enters ? x : 0.0F;
    }
  }
}

/// Rows of a warp's sums to a key tensor.
template <int kSize>
__device__ __forceinline__ void store_keys(void* tensor, const float (&sums)[kSize / 8][4],
                                           const SlotAttentionSizes& s, const SlotBlock& at,
                                           const SlotWarp& own) {
  const RowRange range = rows_within(at.first_token(), s.past + s.tokens, kChunk);
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const bool valid = own.row(i) >= range.begin && own.row(i) < range.end;
    const int64_t token = valid ? at.first_token() + own.row(i) : 0;
    char* const to = static_cast<char*>(tensor) + at.key_row(s, token) * kSize * 2;
#pragma unroll
    for (int n = 0; n < kSize / 8; n += 2) {
      store_halves(to + 16 * n, pack(sums[n][i], sums[n][i + 1]),
                   pack(sums[n + 1][i], sums[n + 1][i + 1]), valid);
    }
  }
}

template <int kSize>
__device__ __forceinline__ void follow_slots(const SlotBackwardWork& work, const SlotBlock& at,
                                             char* shared, bool has_readers) {
  using L = WriterTiles<kSize>;
  SlotWriter<kSize> slots;
  for (int h = 0; h < at.group; ++h) {
    ask_head<kSize>(work, at, shared, h);
    if (has_readers) slots.add_head(shared);
  }
  __syncthreads();
  if (has_readers)
    ask_piece<kSlots>(shared_address(shared) + L::kLeft, work.scratch.left,
                      at.piece(work.scratch.chunks));
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  if (has_readers) {
    slots.add_later(shared, reinterpret_cast<float*>(shared + L::kTails));
    for_each_slots(slots.own, [&](int n, int i, int row, int slot) {
      *reinterpret_cast<float2*>(reinterpret_cast<float*>(shared + L::kSums) +
                                 row * FadeTable::kStride + slot) =
          make_float2(slots.written[n][i], slots.written[n][i + 1]);
    });
  }
  const float4* const window = reinterpret_cast<const float4*>(shared + L::kExchange);
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n) {
    const float4 x = window[(slots.own.block * (kSize / 8) + n) * 32 + slots.own.lane];
    slots.dv[n][0] += x.x, slots.dv[n][1] += x.y, slots.dv[n][2] += x.z, slots.dv[n][3] += x.w;
  }
  store_keys<kSize>(work.p.dk, slots.dk, work.p.forward.sizes, at, slots.own);
  store_keys<kSize>(work.p.dv, slots.dv, work.p.forward.sizes, at, slots.own);
}

template <int kSize>
__device__ __forceinline__ void follow_window(const SlotBackwardWork& work, const SlotBlock& at,
                                              char* shared, bool has_readers) {
  using L = WriterTiles<kSize>;
  WindowWriter<kSize> window;
  for (int h = 0; h < at.group; ++h) {
    ask_head<kSize>(work, at, shared, h);
    window.add_head(work.p.forward, at, shared);
  }
  __syncthreads();
  float4* const to = reinterpret_cast<float4*>(shared + L::kExchange);
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n) {
    const auto& x = window.dv[n];
    to[(window.own.block * (kSize / 8) + n) * 32 + window.own.lane] =
        make_float4(x[0], x[1], x[2], x[3]);
  }
  if (has_readers)
    ask_piece<kSlots>(shared_address(shared) + L::kLeft, work.scratch.left,
                      at.piece(work.scratch.chunks));
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  store_keys<kSize>(work.p.drotated_k, window.dkeys, work.p.forward.sizes, at, window.own);
}

template <int kSize>
__global__ void __launch_bounds__(kWriterThreads)
    write_backward_kernel(const __grid_constant__ SlotBackwardWork work) {
  using L = WriterTiles<kSize>;
  extern __shared__ __align__(128) char shared[];
  const SlotAttentionParams& p = work.p.forward;
  const SlotBlock at(p.sizes);
  const uint32_t base = shared_address(shared);
  // The last chunk of keys may have no readers of its own.
  const bool has_readers = at.chunk < work.scratch.chunks;
  ask_keys<kSize>(base + L::kKeys, p.k, p.sizes, at, kChunk);
  ask_keys<kSize>(base + L::kRotatedKeys, p.rotated_k, p.sizes, at, kChunk);
  ask_keys<kSize>(base + L::kValues, p.v, p.sizes, at, kChunk);
  if (has_readers) {
    ask_piece<kSize>(base + L::kDkeys, work.scratch.dkeys, at.piece(work.scratch.chunks));
    ask_piece<kSize>(base + L::kDvalues, work.scratch.dvalues, at.piece(work.scratch.chunks));
  }
  commit_copies();
  const FadeTable table{reinterpret_cast<float*>(shared + L::kSums), shared + L::kWritten};
  table.fill_sums({p, work.scratch}, at);
  table.fill_written({p, work.scratch}, at);
  if (SlotWarp().team == 0) {
    follow_slots<kSize>(work, at, shared, has_readers);
  } else {
    follow_window<kSize>(work, at, shared, has_readers);
  }
  if (has_readers) {
    multiply_slots<kSize>(work, at, shared);
    __syncthreads();
    store_decays<kSize>(work, at, shared);
    return;
  }
  const RowRange range = rows_within(at.first_token(), p.sizes.past + p.sizes.tokens, kChunk);
  for (int i = threadIdx.x; i < kChunk * kSlots; i += kWriterThreads) {
    const int row = i / kSlots, slot = i % kSlots;
    if (row < range.begin || row >= range.end || slot >= p.sizes.slots) continue;
    work.p.ddecay[at.key_row(p.sizes, at.first_token() + row) * p.sizes.slots + slot] = 0;
  }
}

template <int kSize>
Status launch(const SlotBackwardWork& work, Stream stream) {
  const SlotAttentionSizes& s = work.p.forward.sizes;
  constexpr int kBytes = WriterTiles<kSize>::kBytes;
  const Status status = status_of(cudaFuncSetAttribute(
      write_backward_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  if (!status.ok()) return status;
  const int64_t chunks = (s.tokens + s.window - 1) / kChunk + 1;
  const dim3 blocks(static_cast<unsigned>(chunks), static_cast<unsigned>(s.batch * s.key_heads));
  write_backward_kernel<kSize><<<blocks, kWriterThreads, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t write_slots_backward_bytes(int64_t size) {
  return size == 64 ? WriterTiles<64>::kBytes : WriterTiles<128>::kBytes;
}

Status write_slots_backward(const SlotBackwardWork& work, Stream stream) {
  return work.p.forward.sizes.size == 64 ? launch<64>(work, stream) : launch<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
