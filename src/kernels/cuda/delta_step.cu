// The state goes through memory once: a block takes 64 of its columns and asks for all of them
// first. k S' and q S' are one sum over the rows: then o = q S' + (q k) u needs no second one.
#include "kernels/cuda/delta_step.h"
#include "kernels/cuda/head_row.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kColumns = 64;                    // of the state, a block
constexpr int kLanes = kColumns / 4;            // threads side by side in a row of the state
constexpr int kRowsAtOnce = kThreads / kLanes;  // rows that the block reads at once

__device__ float floats_at(const void* array, DType type, int64_t index) {
  float x[1];
  load_floats(array, type, index, x);
  return x[0];
}

__device__ float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }

/// What a thread of the block's second half, which makes the decays, needs beside z: known before z
/// is.
template <int dk>
struct DecayConstants {
  static constexpr int kTeam = kThreads / 2 < dk ? kThreads / 2 : dk;  // threads
  static constexpr int kChannels = dk / kTeam;                         // of a thread
  float rate, bias[kChannels];

  static __device__ int channel(int j) {
    return static_cast<int>(threadIdx.x) - kThreads / 2 + j * kTeam;
  }
  static __device__ bool is_one_of_them() {
    return threadIdx.x >= kThreads / 2 && threadIdx.x < kThreads / 2 + kTeam;
  }

  __device__ explicit DecayConstants(const DeltaDecay& p) {
    if (!is_one_of_them()) return;
    rate = expf(floats_at(p.A_log, p.A_log_type, blockIdx.y));
#pragma unroll
    for (int j = 0; j < kChannels; ++j) {
      const int64_t i = p.size == 1 ? blockIdx.y : blockIdx.y * p.size + channel(j);
      bias[j] = floats_at(p.dt_bias, p.dt_bias_type, i);
    }
  }
};

/// exp(-decay) of each channel into kept [dk].
template <class T, int dk>
__device__ void keep(const DeltaDecay& p, const DecayConstants<dk>& constants, int64_t heads,
                     float* kept) {
  const int64_t first = (blockIdx.z * heads + blockIdx.y) * p.size;
#pragma unroll
  for (int j = 0; j < DecayConstants<dk>::kChannels; ++j) {
    const int channel = DecayConstants<dk>::channel(j);
    const T z = __ldcg(static_cast<const T*>(p.z) + first + (p.size == 1 ? 0 : channel));
    const float y = static_cast<float>(z) + constants.bias[j], rate = constants.rate;
    const float decay =
        p.lower_bound == 0 ? rate * softplus(y) : -p.lower_bound / (1 + expf(-rate * y));
    kept[channel] = expf(-decay);
  }
}

/// A thread's rows of four columns.
template <int kRows>
struct Columns {
  float4 rows[kRows];
  float of_k[4] = {}, of_q[4] = {};  // k S' and q S', over the thread's rows
  float products = 0;                // q k

  /// S' of one row.
  __device__ void fade(int j, float kept, float key, float query) {
    float4& s = rows[j];
    s.x *= kept, s.y *= kept, s.z *= kept, s.w *= kept;
    of_k[0] += key * s.x, of_k[1] += key * s.y, of_k[2] += key * s.z, of_k[3] += key * s.w;
    of_q[0] += query * s.x, of_q[1] += query * s.y, of_q[2] += query * s.z, of_q[3] += query * s.w;
    products += query * key;
  }

  /// Over the rows of the warp.
  __device__ void sum_lanes() {
#pragma unroll
    for (int offset = kLanes; offset < 32; offset *= 2) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        of_k[i] += __shfl_xor_sync(~0U, of_k[i], offset);
        of_q[i] += __shfl_xor_sync(~0U, of_q[i], offset);
      }
      products += __shfl_xor_sync(~0U, products, offset);
    }
  }

  __device__ void add(int j, float key, const float (&u)[4]) {
    float4& s = rows[j];
    s.x += key * u[0], s.y += key * u[1], s.z += key * u[2], s.w += key * u[3];
  }
};

/// What the warps of a block have summed, each over its rows.
struct Sums {
  float of_k[kWarps][kColumns], of_q[kWarps][kColumns], products[kWarps];

  static __device__ void total(const float (&of_warps)[kWarps][kColumns], float (&x)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      const float4 part = reinterpret_cast<const float4*>(of_warps[warp])[threadIdx.x % kLanes];
      x[0] += part.x, x[1] += part.y, x[2] += part.z, x[3] += part.w;
    }
  }
};

template <class T, int dk>
__global__ void __launch_bounds__(kThreads, dk <= 128 ? 4 : 2)
    step_kernel(DeltaStepParams p, bool is_settled) {
  constexpr int kRows = dk / kRowsAtOnce;  // of a thread
  __shared__ float q[dk], k[dk], kept[dk];
  __shared__ __align__(16) Sums sums;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = threadIdx.x / kLanes, column = blockIdx.x * kColumns + threadIdx.x % kLanes * 4;
  const int64_t head = blockIdx.z * p.heads.all + blockIdx.y;

  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t slot = p.slots != nullptr ? p.slots[blockIdx.z] : static_cast<int>(blockIdx.z);
  if (slot < 0) {
    if (is_settled) wait_for_earlier_kernels();
    if (threadIdx.x < kColumns) {
      const int64_t first = head * p.value_size + blockIdx.x * kColumns;
      static_cast<T*>(p.o)[first + threadIdx.x] = static_cast<T>(0.0F);
    }
    return;
  }
  const int64_t quads = p.value_size / 4;
  const int64_t first = (slot * p.heads.all + blockIdx.y) * dk + row;
  float4* const state = reinterpret_cast<float4*>(p.state + column) + first * quads;
  Columns<kRows> s;
#pragma unroll
  for (int j = 0; j < kRows; ++j) s.rows[j] = __ldcg(state + j * kRowsAtOnce * quads);
  const PairConstants<dk> constants(warp == 0 ? p.q_weight : p.k_weight, p.weight_type);
  const DecayConstants<dk> of_decays(p.decay);
  if (is_settled) wait_for_earlier_kernels();
  const auto all = static_cast<unsigned>(p.heads.all);
  const auto row_of = [&](int64_t heads) {
    return blockIdx.z * heads + blockIdx.y / (all / static_cast<unsigned>(heads));
  };
  float v[4];
  unpack(load_pack<T, 4>(p.v, (row_of(p.heads.of_v) * p.value_size + column) / 4), v);
  const float b = static_cast<float>(__ldcg(static_cast<const T*>(p.b) + head));
  const float beta = p.most_beta / (1 + expf(-b));
  const int64_t angles = blockIdx.z * p.angle_row;
  const HeadRowForm form{p.cos == nullptr ? nullptr : p.cos + angles, p.sin + angles, p.weight_type,
                         p.eps};
  if (warp == 0) {
    prepare<T, dk, true>({p.q, p.q_weight, row_of(p.heads.of_q)}, constants, form, q);
  } else if (warp == 1) {
    prepare<T, dk, true>({p.k, p.k_weight, row_of(p.heads.of_k)}, constants, form, k);
  } else if (DecayConstants<dk>::is_one_of_them()) {
    keep<T, dk>(p.decay, of_decays, p.heads.all, kept);
  }
  __syncthreads();

#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const int r = row + j * kRowsAtOnce;
    s.fade(j, kept[r], k[r], q[r]);
  }
  s.sum_lanes();
  if (lane < kLanes) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums.of_k[warp][lane * 4 + i] = s.of_k[i], sums.of_q[warp][lane * 4 + i] = s.of_q[i];
    }
    if (lane == 0) sums.products[warp] = s.products;
  }
  __syncthreads();
  float u[4];
  Sums::total(sums.of_k, u);
#pragma unroll
  for (int i = 0; i < 4; ++i) u[i] = beta * (v[i] - u[i]);
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    s.add(j, k[row + j * kRowsAtOnce], u);
    state[j * kRowsAtOnce * quads] = s.rows[j];
  }
  if (row > 0) return;
  float o[4], products = 0;
  Sums::total(sums.of_q, o);
#pragma unroll
  for (int w = 0; w < kWarps; ++w) products += sums.products[w];
#pragma unroll
  for (int i = 0; i < 4; ++i) o[i] = p.scale * (o[i] + products * u[i]);
  store_pack(p.o, (head * p.value_size + column) / 4, pack_of<T>(o));
}

template <class T, int dk>
Status launch(const DeltaStepParams& p, Stream stream) {
  const dim3 blocks(static_cast<unsigned>(p.value_size / kColumns),
                    static_cast<unsigned>(p.heads.all), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, dk>, blocks, dim3(kThreads), stream, p, stream.is_settled);
}

template <class T>
Status launch_size(const DeltaStepParams& p, Stream stream) {
  if (p.key_size == 64) return launch<T, 64>(p, stream);
  if (p.key_size == 128) return launch<T, 128>(p, stream);
  if (p.key_size == 256) return launch<T, 256>(p, stream);
  return {"a key size that is not 64, 128 or 256"};
}

}  // namespace

Status delta_step(const DeltaStepParams& params, Stream stream) {
  if (params.value_size % kColumns != 0) return {"a value size that is not a multiple of 64"};
  if (params.rows > 65535 || params.heads.all > 65535) return {"more than 65535 rows or heads"};
  if (params.rows == 0) return {};
  return params.type == DType::kBFloat16 ? launch_size<__nv_bfloat16>(params, stream)
                                         : launch_size<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
