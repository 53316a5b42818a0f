// The state goes through memory once: a block takes 32 of its columns, asks for all of them first,
// and makes q and k ready while they come.
#include "kernels/cuda/head_row.cuh"
#include "kernels/lightning_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = 32;                    // of the state, a block
constexpr int kLanes = kColumns / 4;            // threads side by side in a row of the state
constexpr int kRowsAtOnce = kThreads / kLanes;  // rows that the block reads at once
constexpr int kMaxSize = 128;

template <class T, int d>
__global__ void __launch_bounds__(kThreads, 8) step_kernel(LightningStepParams p, bool is_settled) {
  constexpr int kRows = d / kRowsAtOnce;  // of a thread
  __shared__ float q[d], k[d], sums[kThreads / 32][kColumns];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = threadIdx.x / kLanes, column = blockIdx.x * kColumns + threadIdx.x % kLanes * 4;
  const int64_t head = blockIdx.z * p.heads + blockIdx.y;

  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t slot = p.slots != nullptr ? p.slots[blockIdx.z] : static_cast<int>(blockIdx.z);
  if (slot < 0) {
    if (is_settled) wait_for_earlier_kernels();
    if (threadIdx.x < kColumns) {
      const int64_t first = head * d + blockIdx.x * kColumns;
      static_cast<T*>(p.o)[first + threadIdx.x] = static_cast<T>(0.0F);
    }
    return;
  }
  float4* const state =
      reinterpret_cast<float4*>(p.state + (slot * p.heads + blockIdx.y) * d * d + column);
  float4 s[kRows];
#pragma unroll
  for (int j = 0; j < kRows; ++j) s[j] = state[(row + j * kRowsAtOnce) * (d / 4)];
  const float gamma = expf(-p.decay[blockIdx.y]);
  const PairConstants<d> constants(warp == 0 ? p.q_weight : p.k_weight, p.weight_type);
  if (is_settled) wait_for_earlier_kernels();
  const unsigned group = static_cast<unsigned>(p.heads) / static_cast<unsigned>(p.key_heads);
  const int64_t key_head = blockIdx.z * p.key_heads + blockIdx.y / group;
  float v[4];
  unpack(load_pack<T, 4>(p.v, (key_head * d + column) / 4), v);
  const int64_t angles = blockIdx.z * p.angle_row;
  const HeadRowForm form{p.cos != nullptr ? p.cos + angles : nullptr, p.sin + angles, p.weight_type,
                         p.eps};
  if (warp == 0) prepare<T, d, false>({p.q, p.q_weight, head}, constants, form, q);
  if (warp == 1) prepare<T, d, false>({p.k, p.k_weight, key_head}, constants, form, k);
  __syncthreads();

  float o[4] = {};
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const float key = k[row + j * kRowsAtOnce], query = q[row + j * kRowsAtOnce];
    s[j].x = gamma * s[j].x + key * v[0], o[0] += query * s[j].x;
    s[j].y = gamma * s[j].y + key * v[1], o[1] += query * s[j].y;
    s[j].z = gamma * s[j].z + key * v[2], o[2] += query * s[j].z;
    s[j].w = gamma * s[j].w + key * v[3], o[3] += query * s[j].w;
    state[(row + j * kRowsAtOnce) * (d / 4)] = s[j];
  }
  // Over the rows of the warp, then over the warps.
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    for (int offset = kLanes; offset < 32; offset *= 2) {
      o[i] += __shfl_xor_sync(~0U, o[i], offset);
    }
    if (lane < kLanes) sums[warp][lane * 4 + i] = o[i];
  }
  __syncthreads();
  if (threadIdx.x >= kColumns) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) total += sums[w][threadIdx.x];
  static_cast<T*>(p.o)[head * d + blockIdx.x * kColumns + threadIdx.x] =
      static_cast<T>(p.scale * total);
}

template <class T, int d>
Status launch(const LightningStepParams& p, Stream stream) {
  const dim3 blocks(d / kColumns, static_cast<unsigned>(p.heads), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, d>, blocks, dim3(kThreads), stream, p, stream.is_settled);
}

template <class T>
Status launch_size(const LightningStepParams& p, Stream stream) {
  return p.size == kMaxSize ? launch<T, kMaxSize>(p, stream) : launch<T, 64>(p, stream);
}

}  // namespace

Status lightning_step(const LightningStepParams& params, Stream stream) {
  if (params.size != 64 && params.size != kMaxSize) return {"a head size that is not 64 or 128"};
  if (params.rows > 65535 || params.heads > 65535) return {"more than 65535 sequences or heads"};
  if (params.rows == 0) return {};
  return params.type == DType::kBFloat16 ? launch_size<__nv_bfloat16>(params, stream)
                                         : launch_size<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
