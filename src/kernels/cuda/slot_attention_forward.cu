// The readers of a chunk: scores of slots and window, their softmax and the mean of values. Four
// warps of 16 readers a query head; heads of one key head share its tiles.
#include "kernels/cuda/slot_attention_readers.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// Makes scores (in bits) weights exp2(x - most) and returns the sum of a thread's.
template <int kCount>
__device__ __forceinline__ void weigh(float (&x)[kCount][4], const float (&most)[2],
                                      float (&sums)[2]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[n][i] = exp2f(x[n][i] - most[i / 2]);
      sums[i / 2] += x[n][i];
    }
  }
}

template <int kCount>
__device__ __forceinline__ void raise(float (&most)[2], const float (&x)[kCount][4]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) most[i / 2] = fmaxf(most[i / 2], x[n][i]);
  }
}

/// One head's 16 readers.
template <int kSize>
__device__ __forceinline__ void read_head(const SlotWork& work, const SlotBlock& at,
                                          const ReaderTiles<kSize>& tiles, int of_group) {
  const SlotAttentionParams& p = work.p;
  const SlotAttentionSizes& s = p.sizes;
  const SlotWarp own;
  const float scale = p.scale * kBits;
  float of_slots[kSlots / 8][4], of_window[2 * kWindowBlocks][4];
  {
    const QueryRows q(p.q, kSize, s, at, of_group, own);
    read_within<kSize>(of_slots, q, tiles.at(tiles.kSlotKeys), tiles.at(tiles.kKeys), tiles.table,
                       tiles.at(tiles.kWritten), own);
    const QueryRows rotated(p.rotated_q, kSize, s, at, of_group, own);
    clear(of_window);
    multiply_window<kSize>(of_window, rotated, tiles.at(tiles.kRotatedKeys), own);
  }
  for_each_slots(own, [&](int n, int i, int row, int slot) {
    scale_pair_by(of_slots[n] + i, tiles.table.reader(own.block, row, slot));
    of_slots[n][i] = slot < s.slots ? of_slots[n][i] * scale : -INFINITY;
    of_slots[n][i + 1] = slot + 1 < s.slots ? of_slots[n][i + 1] * scale : -INFINITY;
  });
  const WindowMask mask(p, at);
  for_each_window(own, [&](int n, int i, int row, int key) {
    of_window[n][i] = mask.sees(row, key) ? of_window[n][i] * scale : -INFINITY;
  });

  float most[2] = {-INFINITY, -INFINITY}, sums[2] = {};
  raise(most, of_slots), raise(most, of_window);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    most[i] = fmaxf(most[i], __shfl_xor_sync(~0U, most[i], 1));
    most[i] = fmaxf(most[i], __shfl_xor_sync(~0U, most[i], 2));
  }
  weigh(of_slots, most, sums), weigh(of_window, most, sums);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    sums[i] += __shfl_xor_sync(~0U, sums[i], 1);
    sums[i] += __shfl_xor_sync(~0U, sums[i], 2);
  }
  if (p.log_sums != nullptr && own.t == 0) {
    float* const to = p.log_sums + at.query_piece(work.scratch.chunks, of_group) * kChunk;
#pragma unroll
    for (int i = 0; i < 2; ++i) to[own.row(2 * i)] = most[i] + log2f(sums[i]);
  }
  for_each_slots(own, [&](int n, int i, int row, int slot) {
    scale_pair_by(of_slots[n] + i, tiles.table.reader(own.block, row, slot));
  });

  float o[kSize / 8][4];
  clear(o);
  uint32_t a[kSlots / 16][4], b[4];
#pragma unroll
  for (int k = 0; k < kSlots / 16; ++k) left_from(a[k], of_slots[2 * k], of_slots[2 * k + 1]);
  mean_within<kSize>(o, a, tiles.at(tiles.kSlotValues), tiles.at(tiles.kValues), tiles.table,
                     tiles.at(tiles.kWritten), own);
#pragma unroll
  for (int j = 0; j < kWindowBlocks; ++j) {
    left_from(a[0], of_window[2 * j], of_window[2 * j + 1]);
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      right_by_columns<kSize>(b, tiles.at(tiles.kValues), n, own.block + j);
      multiply_pair(o[2 * n], o[2 * n + 1], a[0], b);
    }
  }
  store_queries<kSize>(p.output, o, {1 / sums[0], 1 / sums[1]}, s, at, of_group, own);
}

template <int kSize>
__global__ void __launch_bounds__(384) read_kernel(const __grid_constant__ SlotWork work) {
  extern __shared__ __align__(128) char shared[];
  const SlotBlock at(work.p.sizes);
  const ReaderTiles<kSize> tiles(shared);
  tiles.fill(work, at);
  const int teams = static_cast<int>(blockDim.x) / 128;
  for (int h = SlotWarp().team; h < at.group; h += teams) read_head<kSize>(work, at, tiles, h);
}

template <int kSize>
Status launch(const SlotWork& work, Stream stream) {
  const SlotAttentionSizes& s = work.p.sizes;
  constexpr int kBytes = ReaderTiles<kSize>::kBytes;
  const Status status = status_of(cudaFuncSetAttribute(
      read_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  if (!status.ok()) return status;
  const dim3 blocks(static_cast<unsigned>(work.scratch.chunks),
                    static_cast<unsigned>(s.batch * s.key_heads));
  read_kernel<kSize><<<blocks, 128 * teams_of(s), kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t read_slots_bytes(int64_t size) {
  return size == 64 ? ReaderTiles<64>::kBytes : ReaderTiles<128>::kBytes;
}

Status read_slots(const SlotWork& work, Stream stream) {
  return work.p.sizes.size == 64 ? launch<64>(work, stream) : launch<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
