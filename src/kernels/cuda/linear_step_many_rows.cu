// More rows of x than a block could keep: a cluster of eight blocks shares 128 outputs, each block
// a slice of K, so that x is read once for 128 outputs, and the slices' sums meet through shared
// memory. Same slices, same order of sums, same bits as for few rows. Hopper only.
#include "kernels/cuda/linear_step.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kStages = 4;     // of weights and x under way, a block
constexpr int kUnitTiles = 8;  // of a cluster: each warp sums one
constexpr int kSumPitch = 20;  // floats a row of x: 16 outputs, then room against bank conflicts
constexpr int kRowBytes = kStage * 2;

/// Norm and gate, a block a row.
__global__ void __launch_bounds__(kStepThreads)
    prepare_kernel(const __grid_constant__ LinearStepParams p) {
  __shared__ float squares[kStepThreads / 32];
  const int packs = static_cast<int>(p.size / 8);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * packs;
  const auto load = [&](const void* from, int i) -> StepPack {
    return {__ldcg(static_cast<const uint4*>(from) + first + i)};
  };
  let_next_kernel_start();
  wait_for_earlier_kernels();
  float inverse = 1;
  if (p.norm_weight != nullptr) {
    float sum = 0;
    for (int i = threadIdx.x; i < packs; i += kStepThreads) sum = add_squares(sum, load(p.x, i));
    sum = lanes_sum(sum, 32);
    if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = sum;
    __syncthreads();
    inverse = inverse_rms(p, squares);
  }
  for (int i = threadIdx.x; i < packs; i += kStepThreads) {
    StepPack gate;
    if (p.gate != nullptr) gate = load(p.gate, i);
    static_cast<StepPack*>(p.prepared)[first + i] =
        prepared(p, load(p.x, i), p.norm_weight, inverse, p.gate != nullptr ? &gate : nullptr, i);
  }
}

__device__ __forceinline__ int cluster_rank() {
  int rank = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

/// All threads of the cluster, and what they wrote to shared memory.
__device__ __forceinline__ void sync_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

/// Four floats at this place of another block's shared memory.
__device__ __forceinline__ float4 load_from_block(uint32_t address, int rank) {
  float4 x = {};
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}"
      : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
      : "r"(address), "r"(rank)
      : "memory");
#endif
  return x;
}

/// The slices' sums in their order, of four outputs.
__device__ __forceinline__ void slices_total(uint32_t address, float (&total)[4]) {
  float4 parts[kSlices];
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) parts[slice] = load_from_block(address, slice);
#pragma unroll
  for (int i = 0; i < 4; ++i) total[i] = 0;
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) {
    total[0] += parts[slice].x, total[1] += parts[slice].y;
    total[2] += parts[slice].z, total[3] += parts[slice].w;
  }
}

/// The stages of x under way, kRows rows of two chunks each. In odd rows the chunks trade places:
/// so the lanes of two rows meet different banks.
template <int kRows>
struct XRing {
  static constexpr int kStageBytes = kRows * kRowBytes;
  unsigned char* memory;

  /// This thread's part of a stage that starts at element k; zeros beyond K and the last row.
  __device__ __forceinline__ void ask(const LinearStepParams& p, int slot, int64_t first_row,
                                      int k) const {
    const bool is_prepared = p.norm_weight != nullptr || p.gate != nullptr;
    const auto* const x = static_cast<const __nv_bfloat16*>(is_prepared ? p.prepared : p.x);
#pragma unroll
    for (int piece = threadIdx.x; piece < kRows * 8; piece += kStepThreads) {
      const int row = piece / 8, place = piece % 8, from = k + place * 8;
      const bool valid = first_row + row < p.rows && from < p.size;
      const int64_t at = valid ? (first_row + row) * p.size + from : 0;
      const int to = row * kRowBytes + (place * 16 ^ (row % 2 * (kRowBytes / 2)));
      copy_async(shared_address(memory + slot * kStageBytes + to), x + at, valid);
    }
  }

  __device__ __forceinline__ uint4 read(int slot, int chunk, int tile) const {
    const int row = tile * 8 + threadIdx.x % 32 / 4;
    const int at = row * kRowBytes + ((chunk ^ (row % 2)) * 64) + threadIdx.x % 4 * 16;
    return *reinterpret_cast<const uint4*>(memory + slot * kStageBytes + at);
  }
};

template <int kRows>
constexpr int shared_bytes() {
  return kStages * (kUnitTiles * WeightRing::kStageBytes + XRing<kRows>::kStageBytes);
}

/// Finishes the cluster's outputs, an eighth of them in this block: a tile, or with SwiGLU a pair
/// of tiles for half of the rows of x. A thread takes four outputs of one row.
template <bool kSwiglu, int kRows>
__device__ void finish(const LinearStepParams& p, int64_t first_tile, int64_t tiles,
                       int64_t first_row, uint32_t sums) {
  const int rank = cluster_rank(), own = kSwiglu ? rank / 2 * 2 : rank;  // a tile of the unit
  const int rows = kSwiglu ? kRows / 2 : kRows;
  const int row = (kSwiglu ? rank % 2 * rows : 0) + threadIdx.x / 4;
  const int64_t n = first_row + row;
  if (threadIdx.x / 4 >= rows || n >= p.rows || first_tile + own >= tiles) return;
  const Tile tile = tile_at<kSwiglu>(p, first_tile + own);
  const LinearStepLayer& layer = p.layers[tile.layer];
  const int64_t output = tile.row + threadIdx.x % 4 * 4;
  const uint32_t place = sums + ((own * kRows + row) * kSumPitch + threadIdx.x % 4 * 4) * 4;
  float y[4], up[4];
  slices_total(place, y);
  if (kSwiglu) slices_total(place + kRows * kSumPitch * 4, up);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (output + i >= layer.rows) continue;
    if (kSwiglu) {
      write_swiglu(p, n, output + i, y[i], up[i]);
    } else {
      write_output(p, layer, n, output + i, y[i] + added_to(p, layer, n, output + i));
    }
  }
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HYPENET_CLUSTER __cluster_dims__(kSlices, 1, 1)
#else
#define HYPENET_CLUSTER
#endif

/// Blocks: kSlices for every kRows rows of x, for every unit of tiles.
template <bool kSwiglu, int kRows>
__global__ void HYPENET_CLUSTER __launch_bounds__(kStepThreads, 2)
    many_rows_kernel(const __grid_constant__ LinearStepParams p, int slice_stages, int64_t tiles) {
  extern __shared__ __align__(128) unsigned char memory[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first_k = cluster_rank() * slice_stages * kStage;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x / kSlices) * kRows;
  const int64_t first_tile = static_cast<int64_t>(blockIdx.y) * kUnitTiles;
  const int size = static_cast<int>(p.size);
  const WeightRing ring(memory + warp * kStages * WeightRing::kStageBytes);
  const XRing<kRows> x_ring{memory + kUnitTiles * kStages * WeightRing::kStageBytes};
  const auto ask_weights = [&](const RowPair& weights, int stage) {
    if (stage >= slice_stages) return;
    ring.ask(stage % kStages, weights, first_k + stage * kStage + lane % 4 * 8, size);
  };
  const auto ask_x = [&](int stage) {
    if (stage < slice_stages) {
      x_ring.ask(p, stage % kStages, first_row, first_k + stage * kStage);
    }
    commit_copies();
  };

  let_next_kernel_start();
  const RowPair weights = rows_of(p, tile_at<kSwiglu>(p, min(first_tile + warp, tiles - 1)));
  for (int stage = 0; stage < kStages - 1; ++stage) ask_weights(weights, stage);
  wait_for_earlier_kernels();
  for (int stage = 0; stage < kStages - 1; ++stage) ask_x(stage);

  Sums sums[kRows / 8];
  for (int stage = 0; stage < slice_stages; ++stage) {
    wait_copies<kStages - 2>();
    __syncthreads();  // all copies of x are there, and the stage before this one is free
    ask_weights(weights, stage + kStages - 1);
    ask_x(stage + kStages - 1);
#pragma unroll
    for (int chunk = 0; chunk < kStage / kChunk; ++chunk) {
      uint4 low, high;
      ring.read(stage % kStages, chunk, low, high);
#pragma unroll
      for (int tile = 0; tile < kRows / 8; ++tile) {
        sums[tile].add(low, high, x_ring.read(stage % kStages, chunk, tile));
      }
    }
  }
  wait_copies<0>();
  __syncthreads();
  float* const own =
      reinterpret_cast<float*>(memory) + warp * kRows * kSumPitch + lane % 4 * 2 * kSumPitch;
#pragma unroll
  for (int tile = 0; tile < kRows / 8; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      own[(tile * 8 + i % 2) * kSumPitch + lane / 4 + i / 2 * 8] = sums[tile].total(i);
    }
  }
  sync_cluster();
  finish<kSwiglu, kRows>(p, first_tile, tiles, first_row, shared_address(memory));
  sync_cluster();  // others read this block's memory until here
}

template <bool kSwiglu, int kRows>
Status launch(const LinearStepParams& p, Stream stream) {
  int64_t tiles = 0;
  for (int i = 0; i < p.layer_count; ++i) tiles += tiles_of(p.layers[i]);
  const int64_t groups = (p.rows + kRows - 1) / kRows;
  const int64_t units = (tiles + kUnitTiles - 1) / kUnitTiles;
  if (units > 65535) return {"more than 8 million outputs"};
  if (groups > INT32_MAX / kSlices) return {"too many rows"};
  const auto kernel = many_rows_kernel<kSwiglu, kRows>;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes<kRows>());
  if (error != cudaSuccess) return status_of(error);
  return launch_early(
      kernel, dim3(static_cast<unsigned>(groups * kSlices), static_cast<unsigned>(units)),
      dim3(kStepThreads), size_t{shared_bytes<kRows>()}, stream, p, stages_of_slice(p.size), tiles);
}

template <bool kSwiglu>
Status launch_rows(const LinearStepParams& p, Stream stream) {
  if (p.rows <= 16) return launch<kSwiglu, 16>(p, stream);
  if (p.rows <= 32) return launch<kSwiglu, 32>(p, stream);
  return launch<kSwiglu, 64>(p, stream);
}

}  // namespace

Status linear_step_many_rows(const LinearStepParams& params, Stream stream) {
  if (params.norm_weight != nullptr || params.gate != nullptr) {
    if (params.prepared == nullptr) return {"no space to prepare x in"};
    const Status status = launch_early(prepare_kernel, dim3(static_cast<unsigned>(params.rows)),
                                       dim3(kStepThreads), stream, params);
    if (!status.ok()) return status;
  }
  return params.is_swiglu ? launch_rows<true>(params, stream) : launch_rows<false>(params, stream);
}

}  // namespace hypenet::kernels::cuda
