// Lightning attention for Hopper. A warpgroup owns 64 columns of one head's state, transposed, as
// the accumulators of its products; a block has one warpgroup for head size 64 and two for 128,
// which share the scores. All large factors are read from shared memory by wgmma itself.
#include "kernels/cuda/lightning_work.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kRow = 128;              // bytes of a row of a panel: 64 columns
constexpr int kPanel = kChunk * kRow;  // a tensor's chunk is kSize / 64 panels

template <int kSize>
struct Geometry {
  static constexpr int kGroups = kSize / 64;  // warpgroups, panels
  static constexpr int kThreads = 128 * kGroups;
  static constexpr int kTile = kGroups * kPanel;
  static constexpr int kStages = kSize == 64 ? 3 : 4;   // tiles of q, k and v in shared memory
  static constexpr int kScores = kStages * 3 * kTile;   // two panels, used in turn
  static constexpr int kOutput = kScores + 2 * kPanel;  // a panel a warpgroup
  static constexpr int kPowers = kOutput + kGroups * kPanel;  // gamma^n, and times the scale
  static constexpr int kBytes = kPowers + 2 * (2 * kChunk + 1) * 4 + 1024;  // to align the start
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Of the scores, those a warpgroup computes.
template <int kSize>
constexpr int kScoreColumns = kChunk / Geometry<kSize>::kGroups;

/// This thread's pieces of a chunk's tiles: a 16-byte column of every kRows-th token.
template <int kSize>
struct Loader {
  static constexpr int kPieces = kSize / 8, kRows = Geometry<kSize>::kThreads / kPieces;
  int row = threadIdx.x / kPieces, piece = threadIdx.x % kPieces;
  // kRows is a multiple of 8, so the swizzle is the same for all of them.
  uint32_t place = piece / 8 * kPanel + swizzled<kRow>(row, piece % 8);

  __device__ void load(uint32_t tile, const char* tensor, const Work& work, int64_t first) const {
    const char* from = tensor + (first + row) * work.stride + 16 * piece;
    const int64_t step = kRows * work.stride;
    if (first + kChunk <= work.tokens) {
#pragma unroll
      for (int i = 0; i < kChunk / kRows; ++i, from += step) {
        copy_async(tile + place + i * kRows * kRow, from, true);
      }
      return;
    }
    for (int i = 0; i < kChunk / kRows; ++i, from += step) {
      const bool valid = first + row + i * kRows < work.tokens;
      copy_async(tile + place + i * kRows * kRow, valid ? from : tensor, valid);
    }
  }
};

template <int kSize>
using State = float[kSize / 2];    // S^T [64 of v, kSize of k] of a warpgroup
using Output = float[kChunk / 2];  // o^T [64 of v, 64 tokens]

/// Queues this warpgroup's columns of q k^T.
template <int kSize>
__device__ __forceinline__ void multiply_scores(float (&sums)[kScoreColumns<kSize> / 2], uint32_t q,
                                                uint32_t k, int group) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    const uint32_t at = d / 4 * kPanel + d % 4 * 32;
    multiply_shared<false>(sums, matrix_descriptor(q + at),
                           matrix_descriptor(k + at + group * kScoreColumns<kSize> * kRow), d > 0);
  }
}

/// Scores times the power (decay and scale) between query and key, to shared memory [query, key].
template <int kSize>
__device__ __forceinline__ void write_scores(const float (&sums)[kScoreColumns<kSize> / 2],
                                             char* scores, const float* power, int group) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const int row = 16 * warp + lane / 4, t = lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < kScoreColumns<kSize> / 8; ++n) {
    const int tile = group * (kScoreColumns<kSize> / 8) + n;
    const int lag = row - 8 * tile - t;
    *reinterpret_cast<uint32_t*>(scores + swizzled<kRow>(row, tile) + 2 * t) =
        pack(sums[4 * n] * power[lag], sums[4 * n + 1] * power[lag - 1]);
    *reinterpret_cast<uint32_t*>(scores + swizzled<kRow>(row + 8, tile) + 2 * t) =
        pack(sums[4 * n + 2] * power[lag + 8], sums[4 * n + 3] * power[lag + 7]);
  }
}

/// The state as the left factor of its product with queries.
template <int kSize>
__device__ __forceinline__ void round_state(uint32_t (&factor)[kSize / 16][4],
                                            const State<kSize>& state) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      factor[d][i] = pack(state[8 * d + 2 * i], state[8 * d + 2 * i + 1]);
    }
  }
}

/// Queues output = S^T q^T.
template <int kSize>
__device__ __forceinline__ void read_state(Output& output, const uint32_t (&factor)[kSize / 16][4],
                                           uint32_t q) {
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
    multiply_registers<false>(output, factor[d], matrix_descriptor(q + d / 4 * kPanel + d % 4 * 32),
                              d > 0);
  }
}

/// state *= gamma^n; factor = gamma^(n - j) v_j, transposed.
template <int kSize>
__device__ __forceinline__ void prepare_update(State<kSize>& state,
                                               uint32_t (&factor)[kChunk / 16][4], uint32_t v,
                                               int n, const float* power) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    const float* const weight = power + n - 16 * j - lane % 4 * 2;
    load_transposed(factor[j],
                    v + swizzled<kRow>(16 * j + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
    factor[j][0] = scale_pair(factor[j][0], weight[0], weight[-1]);
    factor[j][1] = scale_pair(factor[j][1], weight[0], weight[-1]);
    factor[j][2] = scale_pair(factor[j][2], weight[-8], weight[-9]);
    factor[j][3] = scale_pair(factor[j][3], weight[-8], weight[-9]);
  }
  const float across = power[n];
#pragma unroll
  for (float& x : state) x *= across;
}

/// Queues state += factor k.
template <int kSize>
__device__ __forceinline__ void update_state(State<kSize>& state,
                                             const uint32_t (&factor)[kChunk / 16][4], uint32_t k) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    multiply_registers<true>(state, factor[j], matrix_descriptor(k + j * 16 * kRow, kPanel), true);
  }
}

/// Queues output = v^T scores^T.
__device__ __forceinline__ void add_chunk(Output& output, uint32_t scores, uint32_t v) {
#pragma unroll
  for (int j = 0; j < kChunk / 16; ++j) {
    multiply_shared<true>(output, matrix_descriptor(v + j * 16 * kRow, kPanel),
                          matrix_descriptor(scores + j * 32), j > 0);
  }
}

/// Writes gamma^i before + within for the chunk's tokens i, by way of shared memory. `power` has
/// the scale in it, as have the scores.
__device__ __forceinline__ void store_output(const Output& before, const Output& within,
                                             const float* power, char* panel, const Work& work,
                                             int64_t first, int group) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, t = lane % 4 * 2;
  const uint32_t base = shared_address(panel);
#pragma unroll
  for (int n = 0; n < kChunk / 8; n += 2) {
    uint32_t tiles[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = 8 * (n + i / 2), at = 4 * n + 2 * i;
      tiles[i] = pack(before[at] * power[token + t] + within[at],
                      before[at + 1] * power[token + t + 1] + within[at + 1]);
    }
    store_transposed(
        base + swizzled<kRow>(8 * n + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2), tiles);
  }
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
  const int row = threadIdx.x % 128 / 8, piece = threadIdx.x % 8;
  char* to = work.o + (first + row) * work.stride + group * kRow + 16 * piece;
  const char* const from = panel + swizzled<kRow>(row, piece);
#pragma unroll
  for (int i = 0; i < kChunk / 16; ++i, to += 16 * work.stride) {
    if (first + row + 16 * i >= work.tokens) break;
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from + i * 16 * kRow);
  }
}

/// Calls visit(element, index in a [k, v] matrix, index in a [v, k] matrix).
template <int kSize, class Visit>
__device__ __forceinline__ void for_each_element(State<kSize>& state, int group,
                                                 const Visit& visit) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int i = 0; i < kSize / 2; ++i) {
    const int column = 64 * group + 16 * warp + lane / 4 + i / 2 % 2 * 8;  // of v
    const int row = i / 4 * 8 + lane % 4 * 2 + i % 2;                      // of k
    visit(state[i], row * kSize + column, column * kSize + row);
  }
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

template <int kSize>
__global__ void __launch_bounds__(Geometry<kSize>::kThreads, kSize == 64 ? 2 : 1)
    hopper_kernel(const __grid_constant__ LightningParams p, const Segments segments) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = Geometry<kSize>;
  extern __shared__ char unaligned[];
  const Work work = work_of_block(p, segments);
  if (work.is_empty()) return;
  const uint32_t base = (shared_address(unaligned) + 1023) / 1024 * 1024;
  char* const shared = unaligned + (base - shared_address(unaligned));
  float* const power = reinterpret_cast<float*>(shared + G::kPowers) + kChunk;
  float* const scaled_power = power + 2 * kChunk + 1;
  fill_powers(power - kChunk, work.decay, 1);
  fill_powers(scaled_power - kChunk, work.decay, p.scale);
  const int group = threadIdx.x / 128;
  State<kSize> state = {};
  if (work.is_given()) {
    const float factor = work.given_factor();
    for_each_element<kSize>(state, group, [&](float& x, int straight, int transposed) {
      x = factor *
          work.pass.given[work.matrix + (work.pass.given_transposed ? transposed : straight)];
    });
  }

  const auto tile = [&](int64_t chunk, int tensor) {
    return base + (static_cast<int>(chunk % G::kStages) * 3 + tensor) * G::kTile;
  };
  const Loader<kSize> loader;
  const auto load = [&](int64_t chunk) {
    const int64_t token = work.start + chunk * kChunk;
    if (token < work.end) {
      if (token >= work.first) loader.load(tile(chunk, 0), work.q, work, token);
      loader.load(tile(chunk, 1), work.k, work, token);
      loader.load(tile(chunk, 2), work.v, work, token);
    }
    commit_copies();
  };
  const int64_t first = (work.first - work.start) / kChunk;  // chunk whose output is written
  const int64_t end = (work.end - work.start + kChunk - 1) / kChunk;
  // All but one of the stages hold chunks to come; the last is being used.
  for (int64_t chunk = 0; chunk < G::kStages - 1; ++chunk) load(chunk);
  const auto next_chunk = [&](int64_t chunk) {
    // The chunk after this one too is needed, for its scores.
    wait_copies<G::kStages - 3>();
    publish_shared();
    __syncthreads();
    load(chunk + G::kStages - 1);
  };
  const auto values = [&](int64_t chunk) { return tile(chunk, 2) + group * kPanel; };
  uint32_t decayed[kChunk / 16][4];
  for (int64_t chunk = 0; chunk < first; ++chunk) {
    next_chunk(chunk);
    prepare_update<kSize>(state, decayed, values(chunk), work.decays(work.start + chunk * kChunk),
                          power);
    begin_products();
    update_state<kSize>(state, decayed, tile(chunk, 1));
    commit_products();
    wait_products<0>();
    pin(state);
  }
  float scores[kScoreColumns<kSize> / 2];
  if (first < end) {
    wait_copies<G::kStages - 3>();
    publish_shared();
    __syncthreads();
    begin_products();
    multiply_scores<kSize>(scores, tile(first, 0), tile(first, 1), group);
    commit_products();
    wait_products<0>();
    pin(scores);
    write_scores<kSize>(scores, shared + G::kScores + first % 2 * kPanel, scaled_power, group);
  }
  for (int64_t chunk = first; chunk < end; ++chunk) {
    const int64_t token = work.start + chunk * kChunk;
    next_chunk(chunk);
    uint32_t rounded[kSize / 16][4];
    round_state<kSize>(rounded, state);
    prepare_update<kSize>(state, decayed, values(chunk), work.decays(token), power);
    Output before, within;
    begin_products();
    read_state<kSize>(before, rounded, tile(chunk, 0));
    add_chunk(within, base + G::kScores + static_cast<int>(chunk % 2) * kPanel, values(chunk));
    commit_products();
    multiply_scores<kSize>(scores, tile(chunk + 1, 0), tile(chunk + 1, 1), group);
    commit_products();
    update_state<kSize>(state, decayed, tile(chunk, 1));
    commit_products();
    wait_products<2>();
    pin(before);
    pin(within);
    store_output(before, within, scaled_power, shared + G::kOutput + group * kPanel, work, token,
                 group);
    wait_products<1>();
    pin(scores);
    write_scores<kSize>(scores, shared + G::kScores + (chunk + 1) % 2 * kPanel, scaled_power,
                        group);
    wait_products<0>();
    pin(state);
  }
  if (work.end == work.tokens && work.pass.final_state != nullptr) {
    for_each_element<kSize>(state, group, [&](float& x, int straight, int) {
      work.pass.final_state[work.matrix + straight] = x * work.pass.final_factor;
    });
  }
#else
  __trap();  // lightning.cu takes this kernel on sm_90 alone, so it was built without sm_90a
#endif
}

template <int kSize>
Status launch(const LightningParams& params, const Segments& segments, Stream stream) {
  using G = Geometry<kSize>;
  const cudaError_t error = cudaFuncSetAttribute(
      hopper_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize, G::kBytes);
  if (error != cudaSuccess) return status_of(error);
  const auto blocks =
      static_cast<unsigned>(params.pass_count * params.sequences * params.heads * segments.count);
  hopper_kernel<kSize><<<blocks, G::kThreads, G::kBytes, cuda_stream(stream)>>>(params, segments);
  return launch_status();
}

}  // namespace

Status lightning_hopper(const LightningParams& params, const Segments& segments, Stream stream) {
  return params.size == 64 ? launch<64>(params, segments, stream)
                           : launch<128>(params, segments, stream);
}

}  // namespace hypenet::kernels::cuda
