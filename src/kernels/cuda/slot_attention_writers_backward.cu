// The gradients that tokens have as keys: of k, rotated k, v and the decay. Four warps follow the
// slots, four the window; a warp has 16 tokens.
#include "kernels/cuda/slot_attention_writers.cuh"

namespace hypenet::kernels::cuda {
namespace {

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

/// Between the heads and what is done once a chunk: hand(), and what is left of the tokens' writes
/// comes.
template <int kSize, class Hand>
__device__ __forceinline__ void end_heads(const SlotBackwardWork& work, const SlotBlock& at,
                                          char* shared, bool has_readers, const Hand& hand) {
  __syncthreads();
  hand();
  if (has_readers) {
    ask_piece<kSlots>(shared_address(shared) + WriterTiles<kSize>::kLeft, work.scratch.left,
                      at.piece(work.scratch.chunks));
  }
  commit_copies();
  wait_copies<0>();
  __syncthreads();
}

template <int kSize>
__device__ __forceinline__ void follow_slots(const SlotBackwardWork& work, const SlotBlock& at,
                                             char* shared, bool has_readers) {
  using L = WriterTiles<kSize>;
  SlotWriter<kSize> slots;
  for_each_head<kSize>(work, at, shared, [&](const char* set) {
    if (!has_readers) return;
#pragma unroll 1
    for (int block = slots.own.block; block < kBlocks; ++block) slots.add_block(shared, set, block);
  });
  end_heads<kSize>(work, at, shared, has_readers, [] {});
  take_over(shared + L::kWindowDv, slots.dv, slots.own);
  if (has_readers) {
    slots.add_later(shared, reinterpret_cast<float*>(shared + L::kTails));
    for_each_slots(slots.own, [&](int n, int i, int row, int slot) {
      *reinterpret_cast<float2*>(reinterpret_cast<float*>(shared + L::kSums) +
                                 row * FadeTable::kStride + slot) =
          make_float2(slots.written[n][i], slots.written[n][i + 1]);
    });
  }
  store_keys<kSize>(work.p.dk, slots.dk, work.p.forward.sizes, at, slots.own);
  store_keys<kSize>(work.p.dv, slots.dv, work.p.forward.sizes, at, slots.own);
}

template <int kSize>
__device__ __forceinline__ void follow_window(const SlotBackwardWork& work, const SlotBlock& at,
                                              char* shared, bool has_readers) {
  WindowWriter<kSize> window;
  for_each_head<kSize>(work, at, shared,
                       [&](const char* set) { window.add_head(work.p.forward, at, shared, set); });
  end_heads<kSize>(work, at, shared, has_readers, [&] {
    hand_over(shared + WriterTiles<kSize>::kWindowDv, window.dv, window.own);
  });
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
