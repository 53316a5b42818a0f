// The gradients that readers have: of both queries, and for the chain and the writers those of
// scores, the weights, and of F as a factor of what was read.
#include "kernels/cuda/slot_attention_readers.cuh"

namespace hypenet::kernels::cuda {
namespace {

template <int kSize>
struct BackwardTiles : ReaderTiles<kSize> {
  using Base = ReaderTiles<kSize>;
  static constexpr int kReads = Base::kBytes;  // as FadeTable's sums
  static constexpr int kBytes = kReads + FadeTable::kSums;
  using Base::Base;
};

/// One head's 16 readers: what stands in registers between the parts.
template <int kSize>
struct ReaderGradients {
  const SlotBackwardWork& work;
  const SlotAttentionParams& p;
  const SlotAttentionSizes& s;
  const SlotBlock& at;
  const BackwardTiles<kSize>& tiles;
  int of_group;
  SlotWarp own;
  float log_sum[2], delta[2];
  // Before the readers' factor; then the gradient of F.
  float scores[kSlots / 8][4], dweights[kSlots / 8][4];

  __device__ __forceinline__ ReaderGradients(const SlotBackwardWork& given, const SlotBlock& block,
                                             const BackwardTiles<kSize>& shared, int head)
      : work(given),
        p(given.p.forward),
        s(given.p.forward.sizes),
        at(block),
        tiles(shared),
        of_group(head) {}

  QueryFactors<kSize> q, doutput;

  __device__ __forceinline__ void load() {
    q.load(p.q, s, at, of_group, own);
    doutput.load(work.p.doutput, s, at, of_group, own);
  }

  /// A slot's weight, of a score before the factor.
  __device__ __forceinline__ float weight_of(float score, float factor, int i) const {
    return power_of_two(score * factor * (p.scale * kBits) - log_sum[i / 2]);
  }

  /// Scores and gradients of weights; their mean `delta`, from these and not from the rounded
  /// output; and through the window the gradient of rotated q.
  __device__ __forceinline__ void window() {
    const int64_t first = at.query_piece(work.scratch.chunks, of_group) * kChunk;
    log_sum[0] = p.log_sums[first + own.row(0)], log_sum[1] = p.log_sums[first + own.row(2)];
    read_within<kSize>(scores, q, tiles.at(tiles.kSlotKeys), tiles.at(tiles.kKeys), tiles.table,
                       tiles.at(tiles.kWritten), own);
    read_within<kSize>(dweights, doutput, tiles.at(tiles.kSlotValues), tiles.at(tiles.kValues),
                       tiles.table, tiles.at(tiles.kWritten), own);
    delta[0] = delta[1] = 0;
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 factor = tiles.table.reader(own.block, row, slot);
      const float low = weight_of(scores[n][i], factor.x, i) * dweights[n][i] * factor.x;
      const float high = weight_of(scores[n][i + 1], factor.y, i) * dweights[n][i + 1] * factor.y;
      delta[i / 2] += (slot < s.slots ? low : 0.0F) + (slot + 1 < s.slots ? high : 0.0F);
    });
    float weights[2 * kWindowBlocks][4], gradients[2 * kWindowBlocks][4];
    clear(weights), clear(gradients);
    q.load(p.rotated_q, s, at, of_group, own);
    multiply_window<kSize>(gradients, doutput, tiles.at(tiles.kValues), own);
    multiply_window<kSize>(weights, q, tiles.at(tiles.kRotatedKeys), own);
    const WindowMask mask(p, at);
    for_each_window(own, [&](int n, int i, int row, int key) {
      weights[n][i] = mask.sees(row, key)
                          ? power_of_two(weights[n][i] * (p.scale * kBits) - log_sum[i / 2])
                          : 0.0F;
      delta[i / 2] += weights[n][i] * gradients[n][i];
    });
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      delta[i] += __shfl_xor_sync(~0U, delta[i], 1);
      delta[i] += __shfl_xor_sync(~0U, delta[i], 2);
      if (own.t == 0) work.scratch.deltas[first + own.row(2 * i)] = delta[i];
    }
    uint32_t a[kWindowBlocks][4], b[4];
#pragma unroll
    for (int j = 0; j < kWindowBlocks; ++j) {
#pragma unroll
      for (int n = 2 * j; n < 2 * j + 2; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          weights[n][i] *= p.scale * (gradients[n][i] - delta[i / 2]);
        }
      }
      left_from(a[j], weights[2 * j], weights[2 * j + 1]);
    }
    float dq[kSize / 8][4];
    clear(dq);
#pragma unroll
    for (int j = 0; j < kWindowBlocks; ++j) {
#pragma unroll
      for (int n = 0; n < kSize / 16; ++n) {
        right_by_columns<kSize>(b, tiles.at(tiles.kRotatedKeys), n, own.block + j);
        multiply_pair(dq[2 * n], dq[2 * n + 1], a[j], b);
      }
    }
    store_queries<kSize>(work.p.drotated_q, dq, {1, 1}, s, at, of_group, own);
  }

  /// Through the slots: dq, and what the others need.
  __device__ __forceinline__ void slots() {
    uint32_t dscores[kSlots / 16][4];
    const int64_t piece = at.query_piece(work.scratch.chunks, of_group) * (kChunk * kSlots);
    uint32_t* const to_scores = reinterpret_cast<uint32_t*>(work.scratch.dscores) + piece / 2;
    uint32_t* const to_weights = reinterpret_cast<uint32_t*>(work.scratch.weights) + piece / 2;
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      const float2 factor = tiles.table.reader(own.block, row, slot);
      const bool valid = at.chunk * kChunk + row < s.tokens;
      float x[2], weight[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float f = e == 0 ? factor.x : factor.y;
        const bool counts = valid && slot + e < s.slots;
        weight[e] = counts ? weight_of(scores[n][i + e], f, i) * f : 0.0F;
        x[e] = weight[e] * p.scale * (dweights[n][i + e] * f - delta[i / 2]);
      }
      // The rounded numbers count from here on: what readers and writers have cancels exactly.
      const uint32_t dscore = pack(x[0], x[1]), rounded = pack(weight[0], weight[1]);
      const float2 u = pair_of(dscore), w = pair_of(rounded);
      scores[n][i] = u.x * scores[n][i] + w.x * dweights[n][i];
      scores[n][i + 1] = u.y * scores[n][i + 1] + w.y * dweights[n][i + 1];
      dscores[n / 2][n % 2 * 2 + i / 2] = dscore;
      to_scores[(row * kSlots + slot) / 2] = dscore;
      to_weights[(row * kSlots + slot) / 2] = rounded;
    });
    float dq[kSize / 8][4];
    clear(dq);
    mean_within<kSize>(dq, dscores, tiles.at(tiles.kSlotKeys), tiles.at(tiles.kKeys), tiles.table,
                       tiles.at(tiles.kWritten), own);
    store_queries<kSize>(work.p.dq, dq, {1, 1}, s, at, of_group, own);
  }

  /// Adds to the heads' sum, the first head sets it.
  __device__ __forceinline__ void add_reads(float* sum) const {
    for_each_slots(own, [&](int n, int i, int row, int slot) {
      float2* const to = reinterpret_cast<float2*>(sum + row * FadeTable::kStride + slot);
      float2 x = make_float2(scores[n][i], scores[n][i + 1]);
      if (of_group > 0) x.x += to->x, x.y += to->y;
      *to = x;
    });
  }
};

template <int kSize>
__global__ void __launch_bounds__(256)
    read_backward_kernel(const __grid_constant__ SlotBackwardWork work) {
  extern __shared__ __align__(128) char shared[];
  const SlotBlock at(work.p.forward.sizes);
  const BackwardTiles<kSize> tiles(shared);
  float* const reads = reinterpret_cast<float*>(shared + tiles.kReads);
  const int teams = static_cast<int>(blockDim.x) / 128, team = SlotWarp().team;
  ReaderGradients<kSize> head(work, at, tiles, team);
  head.load();
  tiles.fill({work.p.forward, work.scratch}, at);
  tiles.wait_for_values();
  for (int first = 0; first < at.group; first += teams) {
    const bool is_one = first + team < at.group;
    head.of_group = first + team;
    if (is_one) {
      if (first > 0) head.load();
      head.window();
      head.slots();
    }
    // In the order of heads, so that bits stay.
    for (int turn = 0; turn < teams; ++turn) {
      if (is_one && turn == team) head.add_reads(reads);
      __syncthreads();
    }
  }
  float* const to =
      work.scratch.reads + at.piece(work.scratch.chunks) * static_cast<int64_t>(kChunk * kSlots);
  for (int i = threadIdx.x; i < kChunk * kSlots; i += static_cast<int>(blockDim.x)) {
    to[i] = reads[i / kSlots * FadeTable::kStride + i % kSlots];
  }
}

template <int kSize>
Status launch(const SlotBackwardWork& work, Stream stream) {
  const SlotAttentionSizes& s = work.p.forward.sizes;
  constexpr int kBytes = BackwardTiles<kSize>::kBytes;
  const Status status = status_of(cudaFuncSetAttribute(
      read_backward_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  if (!status.ok()) return status;
  const dim3 blocks(static_cast<unsigned>(work.scratch.chunks),
                    static_cast<unsigned>(s.batch * s.key_heads));
  const bool has_one_team =
      s.heads == s.key_heads || has_many_blocks({work.p.forward, work.scratch});
  const int threads = has_one_team ? 128 : 256;
  read_backward_kernel<kSize><<<blocks, threads, kBytes, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

int64_t read_slots_backward_bytes(int64_t size) {
  return size == 64 ? BackwardTiles<64>::kBytes : BackwardTiles<128>::kBytes;
}

Status read_slots_backward(const SlotBackwardWork& work, Stream stream) {
  return work.p.forward.sizes.size == 64 ? launch<64>(work, stream) : launch<128>(work, stream);
}

}  // namespace hypenet::kernels::cuda
