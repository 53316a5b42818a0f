// What both kernels of linear_step share, so that a row has the same bits in either: how K is cut,
// how weights are read, how a row is prepared, how an output is finished.
#pragma once

#include "kernels/cuda/linear_step.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {

constexpr int kSlices = 8;     // of K: each is summed in order, then the slices in order
constexpr int kChunk = 32;     // of k: 4 lanes with 8 neighbours each, two products
constexpr int kStage = 64;     // of k: two chunks, a whole line of every row of weights
constexpr int kTileRows = 16;  // outputs of a product
constexpr int kStepThreads = 256;

/// The stages of a slice of K; the last slices may lie beyond K in part.
inline int stages_of_slice(int64_t size) {
  return static_cast<int>((size + kSlices * kStage - 1) / (kSlices * kStage));
}

struct Tile {
  int layer;
  int64_t row;  // its first output
};

inline __host__ __device__ int64_t tiles_of(const LinearStepLayer& layer) {
  return (layer.rows + kTileRows - 1) / kTileRows;
}

/// Tile number `index` over all layers; those of SwiGLU's two layers alternate.
template <bool kSwiglu>
__device__ __forceinline__ Tile tile_at(const LinearStepParams& p, int64_t index) {
  if (kSwiglu) return {static_cast<int>(index % 2), index / 2 * kTileRows};
  int layer = 0;
  while (layer + 1 < p.layer_count && index >= tiles_of(p.layers[layer])) {
    index -= tiles_of(p.layers[layer++]);
  }
  return {layer, index * kTileRows};
}

/// The two rows of a tile that a lane reads: lane / 4 and that + 8. Beyond the layer's last row it
/// is that row again, whose product is then thrown away.
struct RowPair {
  const __nv_bfloat16 *low, *high;
};

__device__ __forceinline__ RowPair rows_of(const LinearStepParams& p, const Tile& tile) {
  const LinearStepLayer& layer = p.layers[tile.layer];
  const auto* const weight = static_cast<const __nv_bfloat16*>(layer.weight);
  const int64_t low = tile.row + threadIdx.x % 32 / 4, last = layer.rows - 1;
  return {weight + min(low, last) * p.size, weight + min(low + 8, last) * p.size};
}

/// A warp's place in shared memory for the weights under way. Every lane reads what it has copied
/// itself, so no barrier is needed.
struct WeightRing {
  static constexpr int kStageBytes = kTileRows * kStage * 2;
  uint32_t address;  // of the lane in stage 0

  __device__ explicit WeightRing(unsigned char* of_warp)
      : address(shared_address(of_warp) + threadIdx.x % 32 * 16) {}

  /// Asks for the lane's part of a stage that starts at element k of a tile's rows; zeros beyond K.
  __device__ __forceinline__ void ask(int slot, const RowPair& rows, int k, int size) const {
#pragma unroll
    for (int chunk = 0; chunk < kStage / kChunk; ++chunk) {
      const int from = k + chunk * kChunk;
      const uint32_t to = address + slot * kStageBytes + chunk * 1024;
      const int bytes = from < size ? 16 : 0;
      copy(to, rows.low + from, bytes);
      copy(to + 512, rows.high + from, bytes);
    }
  }

  /// Of the lane's low row and high row.
  __device__ __forceinline__ void read(int slot, int chunk, uint4& low, uint4& high) const {
    const uint32_t from = address + slot * kStageBytes + chunk * 1024;
    low = read(from), high = read(from + 512);
  }

 private:
  static __device__ __forceinline__ void copy(uint32_t to, const __nv_bfloat16* from, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(bytes)
                 : "memory");
  }
  static __device__ __forceinline__ uint4 read(uint32_t from) {
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(from)
                 : "memory");
    return x;
  }
};

/// The sums over one slice of K, even and odd products apart, so that one need not wait for the
/// other: of 16 outputs for 8 rows of x, laid out as multiply_add says.
struct Sums {
  float even[4] = {}, odd[4] = {};

  /// Adds a chunk: 8 weights of two rows and 8 elements of a row of x a lane. Products are sums
  /// over k, so which k a place stands for does not matter, if it is the same for both.
  __device__ __forceinline__ void add(const uint4& low, const uint4& high, const uint4& x) {
    const uint32_t first[4] = {low.x, high.x, low.y, high.y};
    const uint32_t second[4] = {low.z, high.z, low.w, high.w};
    multiply_add(even, first, x.x, x.y);
    multiply_add(odd, second, x.z, x.w);
  }
  __device__ __forceinline__ float total(int i) const { return even[i] + odd[i]; }
};

using StepPack = Pack<__nv_bfloat16, 8>;

__device__ __forceinline__ float add_squares(float squares, const StepPack& pack) {
  float x[8];
  unpack(pack, x);
#pragma unroll
  for (int i = 0; i < 8; ++i) squares = __fmaf_rn(x[i], x[i], squares);
  return squares;
}

/// 1 / rms from the sums of squares that the warps of a block left.
__device__ __forceinline__ float inverse_rms(const LinearStepParams& p, const float* squares) {
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kStepThreads / 32; ++warp) total += squares[warp];
  return rsqrtf(total / static_cast<float>(p.size) + p.eps);
}

/// Elements 8 * index .. of x after norm and gate (null: not gated); norm_weight may lie in shared
/// memory.
__device__ __forceinline__ StepPack prepared(const LinearStepParams& p, const StepPack& pack,
                                             const void* norm_weight, float inverse,
                                             const StepPack* gates, int index) {
  float x[8], weight[8];
  unpack(pack, x);
  if (norm_weight != nullptr && p.norm_type == DType::kBFloat16) {
    unpack(static_cast<const StepPack*>(norm_weight)[index], weight);
  } else if (norm_weight != nullptr) {
    const float4* const quads = static_cast<const float4*>(norm_weight) + 2 * index;
    const float4 a = quads[0], b = quads[1];
    weight[0] = a.x, weight[1] = a.y, weight[2] = a.z, weight[3] = a.w;
    weight[4] = b.x, weight[5] = b.y, weight[6] = b.z, weight[7] = b.w;
  }
  if (norm_weight != nullptr) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= inverse * weight[i];
  }
  if (gates != nullptr) {
    float gate[8];
    unpack(*gates, gate);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= sigmoid(gate[i]);
  }
  return pack_of<__nv_bfloat16>(x);
}

__device__ __forceinline__ float bias_at(const LinearStepLayer& layer, int64_t row) {
  if (layer.bias == nullptr) return 0;
  return static_cast<float>(static_cast<const __nv_bfloat16*>(layer.bias)[row]);
}

/// What joins the product in output `row` of row n of x: the bias, and the output itself.
__device__ __forceinline__ float added_to(const LinearStepParams& p, const LinearStepLayer& layer,
                                          int64_t n, int64_t row) {
  float added = bias_at(layer, row);
  if (p.adds_to_out) {
    // Past the near cache, which may remember what stood there before the kernel ahead.
    const auto* const out = static_cast<const unsigned short*>(layer.out) + n * layer.rows + row;
    added += static_cast<float>(__ushort_as_bfloat16(__ldcg(out)));
  }
  return added;
}

__device__ __forceinline__ void write_output(const LinearStepParams& p,
                                             const LinearStepLayer& layer, int64_t n, int64_t row,
                                             float y) {
  const int64_t at = n * layer.rows + row;
  if (p.has_float_output) {
    static_cast<float*>(layer.out)[at] = y;
  } else {
    static_cast<__nv_bfloat16*>(layer.out)[at] = __float2bfloat16_rn(y);
  }
}

__device__ __forceinline__ float rounded(float x) {
  return static_cast<float>(__float2bfloat16_rn(x));
}

/// Output `row` of row n from the two products; both layers have as many rows.
__device__ __forceinline__ void write_swiglu(const LinearStepParams& p, int64_t n, int64_t row,
                                             float gate_sum, float up_sum) {
  const float gate = rounded(gate_sum + bias_at(p.layers[0], row));
  const float up = rounded(up_sum + bias_at(p.layers[1], row));
  write_output(p, p.layers[0], n, row, gate * sigmoid(gate) * up);
}

}  // namespace hypenet::kernels::cuda
