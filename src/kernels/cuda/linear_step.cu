// Up to 8 rows of x: a block keeps them in shared memory and takes tiles of 16 outputs in turn, its
// warps a slice of K each. Weights are asked for far ahead: the first before the kernel ahead has
// ended, the next tile's while a tile is summed.
#include <algorithm>

#include "kernels/cuda/linear_step.cuh"

namespace hypenet::kernels::cuda {
namespace {

// Stages of weights under way, a warp: 128 and 64 KB a block. What adds to a residual (o_proj,
// down) stands between two that do not: a multiprocessor has room for a block of each and for no
// two of the larger, so that every one gets one block of a kernel however early the blocks come.
// Two on one would end last, and leave one without.
constexpr int kFarAhead = 8, kNearAhead = 4;
constexpr int kSumPitch = 20;    // floats a row of x: 16 outputs, then room against bank conflicts
constexpr int kPacksAtOnce = 4;  // of x, a thread

struct Plan {
  int ahead;  // kFarAhead or kNearAhead
  int slice_stages;
  int rows_at_once;  // of x, a block
  int units;         // tiles, or pairs of tiles with SwiGLU
};

/// Where things lie in a block's shared memory, in bytes. Rows of x are `pitch` elements long, 64
/// bytes more than the slices need, so that lanes of two rows meet different banks.
struct Layout {
  int pitch, x, gate, norm_weight, squares, sums, end;

  __host__ __device__ Layout(const LinearStepParams& p, const Plan& plan) {
    const int rows = plan.rows_at_once;
    pitch = kSlices * plan.slice_stages * kStage + kChunk;
    x = kSlices * plan.ahead * WeightRing::kStageBytes;
    gate = x + rows * pitch * 2;
    norm_weight = gate + (p.gate != nullptr ? rows * pitch * 2 : 0);
    const int weight_bytes = static_cast<int>(p.size) * (p.norm_type == DType::kBFloat16 ? 2 : 4);
    squares = norm_weight + (p.norm_weight != nullptr ? weight_bytes : 0);
    sums = squares + rows * kSlices * 4;
    // Two sets, so that one is written while the other is read.
    end = sums + 2 * (p.is_swiglu ? 2 : 1) * kSlices * rows * kSumPitch * 4;
  }
};

/// Asks for the norm's weight. The packs of a row that a thread copies and prepares are threadIdx.x
/// + j * kStepThreads.
__device__ void copy_norm_weight(const LinearStepParams& p, unsigned char* to) {
  if (p.norm_weight != nullptr) {
    const auto* const from = static_cast<const unsigned char*>(p.norm_weight);
    const int pieces = p.norm_type == DType::kBFloat16 ? 1 : 2;  // a pack
    for (int i = threadIdx.x; i < p.size / 8; i += kStepThreads) {
      for (int at = i * pieces * 16; at < (i + 1) * pieces * 16; at += 16) {
        copy_async(shared_address(to + at), from + at, true);
      }
    }
  }
  commit_copies();
}

/// Which row, and which of its packs, threads copy next.
struct Turn {
  int n, turn;
  __device__ __forceinline__ void advance(int turns) {
    if (++turn == turns) turn = 0, ++n;
  }
};

/// The block's rows of x, and of the gate, into shared memory, zeros beyond K; with a norm each
/// warp's sums of their squares too. Not by asynchronous copies: those end in the order they were
/// asked for, behind the weights.
__device__ void load_rows(const LinearStepParams& p, const Layout& layout, int64_t first, int rows,
                          unsigned char* memory) {
  const int packs = static_cast<int>(p.size / 8), row_packs = layout.pitch / 8;
  const int wanted = (layout.pitch - kChunk) / 8;                // packs of a row, zeros counted
  const int turns = (wanted + kStepThreads - 1) / kStepThreads;  // a row
  float* const squares = reinterpret_cast<float*>(memory + layout.squares);
  float sum = 0;
  for (Turn next{0, 0}; next.n < rows;) {
    const Turn begin = next;
    uint4 x[kPacksAtOnce], gate[kPacksAtOnce];
#pragma unroll
    for (int j = 0; j < kPacksAtOnce; ++j, next.advance(turns)) {
      const int i = threadIdx.x + next.turn * kStepThreads;
      x[j] = gate[j] = make_uint4(0, 0, 0, 0);
      if (next.n >= rows || i >= packs) continue;
      const int64_t at = (first + next.n) * packs + i;
      x[j] = __ldcg(static_cast<const uint4*>(p.x) + at);
      if (p.gate != nullptr) gate[j] = __ldcg(static_cast<const uint4*>(p.gate) + at);
    }
    Turn now = begin;
#pragma unroll
    for (int j = 0; j < kPacksAtOnce; ++j, now.advance(turns)) {
      if (now.n >= rows) break;
      const int i = threadIdx.x + now.turn * kStepThreads, at = now.n * row_packs + i;
      if (i < wanted) reinterpret_cast<uint4*>(memory + layout.x)[at] = x[j];
      if (p.gate != nullptr && i < wanted) {
        reinterpret_cast<uint4*>(memory + layout.gate)[at] = gate[j];
      }
      if (p.norm_weight == nullptr) continue;
      sum = add_squares(now.turn == 0 ? 0 : sum, {x[j]});
      if (now.turn + 1 < turns) continue;
      const float total = lanes_sum(sum, 32);
      if (threadIdx.x % 32 == 0) squares[now.n * kSlices + threadIdx.x / 32] = total;
    }
  }
}

/// Norm and gate of the rows in shared memory, when all threads have loaded theirs.
__device__ void prepare_rows(const LinearStepParams& p, const Layout& layout, int rows,
                             unsigned char* memory) {
  const bool has_norm = p.norm_weight != nullptr, has_gate = p.gate != nullptr;
  const float* const squares = reinterpret_cast<const float*>(memory + layout.squares);
  const int packs = static_cast<int>(p.size / 8), row_packs = layout.pitch / 8;
  for (int n = 0; n < rows; ++n) {
    const float inverse = has_norm ? inverse_rms(p, squares + n * kSlices) : 1;
    StepPack* const x = reinterpret_cast<StepPack*>(memory + layout.x) + n * row_packs;
    const StepPack* const gate =
        reinterpret_cast<const StepPack*>(memory + layout.gate) + n * row_packs;
    for (int i = threadIdx.x; i < packs; i += kStepThreads) {
      x[i] = prepared(p, x[i], has_norm ? memory + layout.norm_weight : nullptr, inverse,
                      has_gate ? gate + i : nullptr, i);
    }
  }
}

/// Output lane % 16 of a tile for row `n` of x: the slices' sums in their order.
__device__ __forceinline__ float slices_total(const float* sums, int rows, int n) {
  float total = 0;
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) {
    total += sums[(slice * rows + n) * kSumPitch + threadIdx.x % kTileRows];
  }
  return total;
}

/// The tiles of a block, and how far its weights have been asked for.
template <bool kSwiglu>
struct Asked {
  static constexpr int kParts = kSwiglu ? 2 : 1;  // tiles a unit
  int tiles, tile = 0, stage = 0;
  RowPair rows;

  __device__ Asked(const LinearStepParams& p, const Plan& plan)
      : tiles(kParts *
              ((plan.units - 1 - static_cast<int>(blockIdx.x) + static_cast<int>(gridDim.x)) /
               static_cast<int>(gridDim.x))),
        rows(rows_of(p, number(p, 0))) {}

  /// Tile i of the block.
  static __device__ Tile number(const LinearStepParams& p, int i) {
    const int unit = static_cast<int>(blockIdx.x + i / kParts * gridDim.x);
    return tile_at<kSwiglu>(p, unit * kParts + i % kParts);
  }

  /// Asks for the next stage; beyond the last for nothing.
  __device__ __forceinline__ void next(const LinearStepParams& p, const WeightRing& ring, int slot,
                                       int first_k, int slice_stages) {
    if (tile < tiles) {
      ring.ask(slot, rows, first_k + stage * kStage, static_cast<int>(p.size));
      if (++stage == slice_stages) {
        stage = 0;
        if (++tile < tiles) rows = rows_of(p, number(p, tile));
      }
    }
    commit_copies();
  }
};

template <bool kSwiglu, int kAhead>
__global__ void __launch_bounds__(kStepThreads, 2)
    few_rows_kernel(const __grid_constant__ LinearStepParams p, const __grid_constant__ Plan plan) {
  extern __shared__ __align__(16) unsigned char memory[];
  constexpr int kParts = Asked<kSwiglu>::kParts;
  constexpr int kPerLane = kFewStepRows * kTileRows / 32;  // outputs
  const Layout layout(p, plan);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * plan.rows_at_once;
  const int rows = static_cast<int>(min(p.rows - first_row, int64_t{plan.rows_at_once}));
  const int first_k = warp * plan.slice_stages * kStage + lane % 4 * 8;  // of the lane

  let_next_kernel_start();
  copy_norm_weight(p, memory + layout.norm_weight);
  const WeightRing ring(memory + warp * kAhead * WeightRing::kStageBytes);
  Asked<kSwiglu> asked(p, plan);
  for (int slot = 0; slot < kAhead; ++slot) asked.next(p, ring, slot, first_k, plan.slice_stages);
  wait_for_earlier_kernels();
  if (asked.tiles == 0) return;
  load_rows(p, layout, first_row, rows, memory);
  if (p.norm_weight != nullptr || p.gate != nullptr) {
    wait_copies<kAhead>();  // for the norm's weight
    __syncthreads();
    prepare_rows(p, layout, rows, memory);
  }
  __syncthreads();

  const auto* const x = reinterpret_cast<const uint4*>(memory + layout.x) +
                        (min(lane / 4, rows - 1) * layout.pitch + first_k) / 8;
  float* const all_sums = reinterpret_cast<float*>(memory + layout.sums);
  const int tile_floats = kSlices * rows * kSumPitch;
  int slot = 0;
  for (int i = 0; i < asked.tiles; ++i) {
    const Tile tile = asked.number(p, i);
    const LinearStepLayer& layer = p.layers[tile.layer];
    const int64_t output = tile.row + lane % kTileRows;
    const bool is_writer = warp == i / kParts % kSlices && output < layer.rows;
    float added[kPerLane] = {};
    if (!kSwiglu && is_writer) {
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const int n = lane / kTileRows + 2 * j;
        if (n < rows) added[j] = added_to(p, layer, first_row + n, output);
      }
    }
    __syncwarp();  // products take whole warps
    Sums sums;
    for (int stage = 0; stage < plan.slice_stages; ++stage) {
      wait_copies<kAhead - 1>();
#pragma unroll
      for (int chunk = 0; chunk < kStage / kChunk; ++chunk) {
        uint4 low, high;
        ring.read(slot, chunk, low, high);
        sums.add(low, high, x[(stage * kStage + chunk * kChunk) / 8]);
      }
      asked.next(p, ring, slot, first_k, plan.slice_stages);
      slot = slot + 1 == kAhead ? 0 : slot + 1;
    }
    float* const set = all_sums + (i / kParts % 2) * kParts * tile_floats;
    float* const own = set + i % kParts * tile_floats + warp * rows * kSumPitch + lane / 4;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int n = lane % 4 * 2 + j;
      if (n < rows) own[n * kSumPitch] = sums.total(j), own[n * kSumPitch + 8] = sums.total(2 + j);
    }
    if (kSwiglu && i % 2 == 0) continue;
    __syncthreads();
    if (is_writer) {
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const int n = lane / kTileRows + 2 * j;
        if (n >= rows) continue;
        const float y = slices_total(set, rows, n);
        if (kSwiglu) {
          write_swiglu(p, first_row + n, output, y, slices_total(set + tile_floats, rows, n));
        } else {
          write_output(p, layer, first_row + n, output, y + added[j]);
        }
      }
    }
  }
}

struct Device {
  int major = 0, processors = 0, shared_bytes = 0;
};

Status current_device(Device* device) {
  int index = 0;
  cudaError_t error = cudaGetDevice(&index);
  const auto ask = [&](int* value, cudaDeviceAttr attribute) {
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, index);
  };
  ask(&device->major, cudaDevAttrComputeCapabilityMajor);
  ask(&device->processors, cudaDevAttrMultiProcessorCount);
  ask(&device->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return status_of(error);
}

template <bool kSwiglu, int kAhead>
Status launch_few_rows(const LinearStepParams& p, const Device& device, const Plan& plan,
                       Stream stream) {
  const int shared_bytes = Layout(p, plan).end;
  if (shared_bytes > device.shared_bytes) return {"a row that is too long for shared memory"};
  const int64_t groups = (p.rows + plan.rows_at_once - 1) / plan.rows_at_once;
  if (groups > 65535) return {"too many rows"};
  // One block a multiprocessor, also where there is no tile for it: in its place there would be
  // room for two blocks of a later kernel.
  const int blocks = device.processors;
  const auto kernel = few_rows_kernel<kSwiglu, kAhead>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (error != cudaSuccess) return status_of(error);
  return launch_early(kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(groups)),
                      dim3(kStepThreads), static_cast<size_t>(shared_bytes), stream, p, plan);
}

}  // namespace

Status linear_step(const LinearStepParams& params, Stream stream) {
  if (params.rows == 0) return {};
  if (params.size % 8 != 0) return {"a size that is not a multiple of 8"};
  if (params.size > INT32_MAX / 64) return {"a size of 2^25 or more"};
  int64_t units = 0;
  for (int i = 0; i < (params.is_swiglu ? 1 : params.layer_count); ++i) {
    units += tiles_of(params.layers[i]);
  }
  if (units == 0) return {};
  if (units > INT32_MAX / (2 * kTileRows)) return {"2^30 outputs or more"};
  Device device;
  const Status status = current_device(&device);
  if (!status.ok()) return status;
  Plan plan{params.adds_to_out ? kNearAhead : kFarAhead, stages_of_slice(params.size), 1,
            static_cast<int>(units)};
  if (Layout(params, plan).end > device.shared_bytes) plan.ahead = kNearAhead;  // sm_86, sm_89
  plan.rows_at_once = static_cast<int>(std::min(params.rows, kFewStepRows));
  while (plan.rows_at_once > 1 && Layout(params, plan).end > device.shared_bytes) {
    --plan.rows_at_once;
  }
  const bool needs_space = params.norm_weight != nullptr || params.gate != nullptr;
  if (params.rows > plan.rows_at_once && device.major == 9 &&
      (!needs_space || params.prepared != nullptr)) {
    return linear_step_many_rows(params, stream);
  }
  const bool is_near = plan.ahead == kNearAhead;
  if (params.is_swiglu) {
    return is_near ? launch_few_rows<true, kNearAhead>(params, device, plan, stream)
                   : launch_few_rows<true, kFarAhead>(params, device, plan, stream);
  }
  return is_near ? launch_few_rows<false, kNearAhead>(params, device, plan, stream)
                 : launch_few_rows<false, kFarAhead>(params, device, plan, stream);
}

}  // namespace hypenet::kernels::cuda
