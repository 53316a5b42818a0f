// The state goes through memory once: a block takes 64 of its columns, asks for all of them first,
// and makes q, k and the decay ready while they come. Then Mamba-2's gate and norm of each head.
#include "kernels/cuda/head_row.cuh"
#include "kernels/cuda/token_decay_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 64;                    // of the state, a block
constexpr int kLanes = kColumns / 4;            // threads side by side in a row of the state
constexpr int kRowsAtOnce = kThreads / kLanes;  // rows that the block reads at once

__device__ float constant_of(const HeadConstants& constants, int64_t head) {
  float x[1] = {0};
  if (constants.x != nullptr) load_floats(constants.x, constants.type, head, x);
  return x[0];
}

__device__ float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }

struct Gates {
  float kept, beta;
};

/// What a row's gates need beside the row: known before it is.
struct GateConstants {
  float bias = 0, rate = 0;

  __device__ GateConstants(const TimeSteps& steps, int64_t head) {
    if (steps.dt == nullptr) return;
    bias = constant_of(steps.bias, head), rate = expf(constant_of(steps.A_log, head));
  }
};

template <class T>
__device__ Gates gates_of(const TokenDecayStepParams& p, const GateConstants& constants,
                          int64_t row, int64_t head) {
  if (p.steps.dt == nullptr) {
    const int64_t place = row * p.heads + head;
    return {expf(-__ldcg(p.decay + place)), p.beta != nullptr ? __ldcg(p.beta + place) : 1};
  }
  const T dt = __ldcg(static_cast<const T*>(p.steps.dt) + row * p.steps.row + head);
  const float step = softplus(static_cast<float>(dt) + constants.bias);
  return {expf(-constants.rate * step), p.steps.A_log.x != nullptr ? step : 1};
}

template <class T, int d>
__global__ void __launch_bounds__(kThreads, 4)
    step_kernel(TokenDecayStepParams p, bool is_settled) {
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
  for (int j = 0; j < kRows; ++j) s[j] = __ldcg(state + (row + j * kRowsAtOnce) * (d / 4));
  const GateConstants of_gates(p.steps, blockIdx.y);
  const float skip = constant_of(p.skip, blockIdx.y);
  const PairConstants<d> constants(warp == 0 ? p.q_weight : p.k_weight, p.weight_type);
  if (is_settled) wait_for_earlier_kernels();
  const auto all = static_cast<unsigned>(p.heads);
  const auto row_of = [&](const RowHeads& x) {
    return blockIdx.z * x.row + blockIdx.y / (all / static_cast<unsigned>(x.heads));
  };
  float v[4];
  unpack(load_pack<T, 4>(p.v.x, (row_of(p.v) * d + column) / 4), v);
  const Gates gates = gates_of<T>(p, of_gates, blockIdx.z, blockIdx.y);
  const int64_t angles = blockIdx.z * p.angle_row;
  const HeadRowForm form{p.cos != nullptr ? p.cos + angles : nullptr, p.sin + angles, p.weight_type,
                         p.eps};
  if (warp == 0) prepare<T, d, false>({p.q.x, p.q_weight, row_of(p.q)}, constants, form, q);
  if (warp == 1) prepare<T, d, false>({p.k.x, p.k_weight, row_of(p.k)}, constants, form, k);
  __syncthreads();

  const float kept = gates.kept;
  const float u[4] = {gates.beta * v[0], gates.beta * v[1], gates.beta * v[2], gates.beta * v[3]};
  float o[4] = {};
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const float key = k[row + j * kRowsAtOnce], query = q[row + j * kRowsAtOnce];
    s[j].x = kept * s[j].x + key * u[0], o[0] += query * s[j].x;
    s[j].y = kept * s[j].y + key * u[1], o[1] += query * s[j].y;
    s[j].z = kept * s[j].z + key * u[2], o[2] += query * s[j].z;
    s[j].w = kept * s[j].w + key * u[3], o[3] += query * s[j].w;
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
  const int own = blockIdx.x * kColumns + threadIdx.x;
  const T value = __ldcg(static_cast<const T*>(p.v.x) + row_of(p.v) * d + own);
  static_cast<T*>(p.o)[head * d + own] =
      static_cast<T>(p.scale * total + skip * static_cast<float>(value));
}

template <class T, int d>
Status launch_step(const TokenDecayStepParams& p, Stream stream) {
  const dim3 blocks(d / kColumns, static_cast<unsigned>(p.heads), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, d>, blocks, dim3(kThreads), stream, p, stream.is_settled);
}

constexpr int kGateThreads = 128;

/// A warp takes a head of a row.
template <class T, int d>
__global__ void __launch_bounds__(kGateThreads) gate_kernel(GatedHeadsParams p) {
  constexpr int kNumbers = d / 32;  // of a lane
  const int lane = threadIdx.x % 32;
  const int64_t place = static_cast<int64_t>(blockIdx.x) * (kGateThreads / 32) + threadIdx.x / 32;
  if (place >= p.rows * p.heads) return;
  const int64_t row = place / p.heads, head = place % p.heads;
  float weight[kNumbers][1], bias[kNumbers][1];
#pragma unroll
  for (int j = 0; j < kNumbers; ++j) {
    const int64_t i = head * d + lane + 32 * j;
    bias[j][0] = 0;
    load_floats(p.weight, p.weight_type, i, weight[j]);
    if (p.bias != nullptr) load_floats(p.bias, p.bias_type, i, bias[j]);
  }
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const T* const y = static_cast<const T*>(p.y) + place * d;
  const T* const z = static_cast<const T*>(p.z) + row * p.z_row + head * d;
  float x[kNumbers], squares = 0;
#pragma unroll
  for (int j = 0; j < kNumbers; ++j) {
    const float gate = static_cast<float>(__ldcg(z + lane + 32 * j)) + bias[j][0];
    x[j] = static_cast<float>(__ldcg(y + lane + 32 * j)) * gate * sigmoid(gate);
    squares += x[j] * x[j];
  }
  const float inverse = rsqrtf(lanes_sum(squares, 32) / d + p.eps);
#pragma unroll
  for (int j = 0; j < kNumbers; ++j) {
    static_cast<T*>(p.o)[place * d + lane + 32 * j] = static_cast<T>(x[j] * inverse * weight[j][0]);
  }
}

template <class T, int d>
Status launch_gate(const GatedHeadsParams& p, Stream stream) {
  constexpr int64_t kWarps = kGateThreads / 32;
  const auto blocks = static_cast<unsigned>((p.rows * p.heads + kWarps - 1) / kWarps);
  return launch_early(gate_kernel<T, d>, dim3(blocks), dim3(kGateThreads), stream, p);
}

Status check(int64_t size) {
  return {size == 64 || size == 128 ? nullptr : "a head size that is not 64 or 128"};
}

}  // namespace

Status token_decay_step(const TokenDecayStepParams& params, Stream stream) {
  const Status status = check(params.size);
  if (!status.ok() || params.rows == 0) return status;
  if (params.rows > 65535 || params.heads > 65535) return {"more than 65535 sequences or heads"};
  if (params.type == DType::kBFloat16) {
    return params.size == 128 ? launch_step<__nv_bfloat16, 128>(params, stream)
                              : launch_step<__nv_bfloat16, 64>(params, stream);
  }
  return params.size == 128 ? launch_step<float, 128>(params, stream)
                            : launch_step<float, 64>(params, stream);
}

Status gated_heads(const GatedHeadsParams& params, Stream stream) {
  const Status status = check(params.size);
  if (!status.ok() || params.rows == 0) return status;
  if (params.type == DType::kBFloat16) {
    return params.size == 128 ? launch_gate<__nv_bfloat16, 128>(params, stream)
                              : launch_gate<__nv_bfloat16, 64>(params, stream);
  }
  return params.size == 128 ? launch_gate<float, 128>(params, stream)
                            : launch_gate<float, 64>(params, stream);
}

}  // namespace hypenet::kernels::cuda
