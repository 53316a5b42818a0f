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
      x[n][i] = power_of_two(x[n][i] - most[i / 2]);
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
struct Reader {
  const SlotWork& work;
  const SlotAttentionParams& p;
  const SlotBlock& at;
  const ReaderTiles<kSize>& tiles;
  SlotWarp own;
  int of_group = 0;
  QueryFactors<kSize> q, rotated_q;
  float of_slots[kSlots / 8][4], of_window[2 * kWindowBlocks][4], sums[2];

  __device__ __forceinline__ Reader(const SlotWork& given, const SlotBlock& block,
                                    const ReaderTiles<kSize>& shared)
      : work(given), p(given.p), at(block), tiles(shared) {}

  __device__ __forceinline__ void load(int head) {
    of_group = head;
    q.load(p.q, p.sizes, at, head, own);
    rotated_q.load(p.rotated_q, p.sizes, at, head, own);
  }

  /// Weights, those of slots times the readers' factor, and their sums.
  __device__ __forceinline__ void score() {
    const SlotAttentionSizes& s = p.sizes;
    const float scale = p.scale * kBits;
    read_within<kSize>(of_slots, q, tiles.at(tiles.kSlotKeys), tiles.at(tiles.kKeys), tiles.table,
                       tiles.at(tiles.kWritten), own);
    clear(of_window);
    multiply_window<kSize>(of_window, rotated_q, tiles.at(tiles.kRotatedKeys), own);
    float factors[kSlots / 8][4];
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 factor = tiles.table.reader(own.block, row, slot);
      factors[n][i] = factor.x, factors[n][i + 1] = factor.y;
      scale_pair_by(of_slots[n] + i, factor);
      of_slots[n][i] = slot < s.slots ? of_slots[n][i] * scale : -INFINITY;
      of_slots[n][i + 1] = slot + 1 < s.slots ? of_slots[n][i + 1] * scale : -INFINITY;
    });
    const WindowMask mask(p, at);
    for_each_window(own, [&](int n, int i, int row, int key) {
      of_window[n][i] = mask.sees(row, key) ? of_window[n][i] * scale : -INFINITY;
    });
    float most[2] = {-INFINITY, -INFINITY};
    raise(most, of_slots), raise(most, of_window);
    sums[0] = sums[1] = 0;
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
#pragma unroll
    for (int n = 0; n < kSlots / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) of_slots[n][i] *= factors[n][i];
    }
  }

  __device__ __forceinline__ void mean() const {
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
    store_queries<kSize>(p.output, o, {1 / sums[0], 1 / sums[1]}, p.sizes, at, of_group, own);
  }
};

template <int kSize, int kTeams>
__global__ void __launch_bounds__(128 * kTeams) read_kernel(const __grid_constant__ SlotWork work) {
  extern __shared__ __align__(128) char shared[];
  const SlotBlock at(work.p.sizes);
  const ReaderTiles<kSize> tiles(shared);
  Reader<kSize> reader(work, at, tiles);
  reader.load(reader.own.team);
  tiles.fill(work, at);
  reader.score();
  tiles.wait_for_values();
  reader.mean();
  for (int head = reader.own.team + kTeams; head < at.group; head += kTeams) {
    reader.load(head);
    reader.score();
    reader.mean();
  }
}

template <int kSize, int kTeams>
Status launch(const SlotWork& work, Stream stream) {
  const SlotAttentionSizes& s = work.p.sizes;
  constexpr int kBytes = ReaderTiles<kSize>::kBytes;
  const Status status = status_of(cudaFuncSetAttribute(
      read_kernel<kSize, kTeams>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  if (!status.ok()) return status;
  const dim3 blocks(static_cast<unsigned>(work.scratch.chunks),
                    static_cast<unsigned>(s.batch * s.key_heads));
  read_kernel<kSize, kTeams><<<blocks, 128 * kTeams, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

template <int kSize>
Status launch_teams(const SlotWork& work, Stream stream) {
  const int64_t group = work.p.sizes.heads / work.p.sizes.key_heads;
  if (has_many_blocks(work)) return launch<kSize, 1>(work, stream);
  if (group % 3 == 0) return launch<kSize, 3>(work, stream);
  return group % 2 == 0 ? launch<kSize, 2>(work, stream) : launch<kSize, 1>(work, stream);
}

}  // namespace

int64_t read_slots_bytes(int64_t size) {
  return size == 64 ? ReaderTiles<64>::kBytes : ReaderTiles<128>::kBytes;
}

Status read_slots(const SlotWork& work, Stream stream) {
  return work.p.sizes.size == 64 ? launch_teams<64>(work, stream) : launch_teams<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
