// A block takes a head of a row and asks for its whole state first, which goes through memory once.
// kappa S and r S are one sum over the rows of S: the output needs no second one.
#include "kernels/cuda/head_row.cuh"
#include "kernels/cuda/rwkv7_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kRowsAtOnce = 16;            // of the state, read by the block at once
constexpr float kMostDecay = 0.60653066F;  // e^-0.5, nats per token

/// Number `index` of a parameter, or `otherwise` where there is none.
__device__ float constant(const void* array, DType type, int64_t index, float otherwise) {
  if (array == nullptr) return otherwise;
  float x[1];
  load_floats(array, type, index, x);
  return x[0];
}

/// What the rows of the state meet.
template <int d>
struct Channels {
  float r[d], k[d], kappa[d], kept[d], rate[d], key_rate[d], bonus[d];
};

/// kappa = unit(k .* k_k), by the warp that made k.
template <int d>
struct KappaMaker {
  static constexpr int kOwn = d / 32;
  float scale[kOwn];

  __device__ explicit KappaMaker(const Rwkv7Constants& p, int64_t first) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      scale[j] = constant(p.kappa_scale, p.type, first + threadIdx.x % 32 + 32 * j, 1);
    }
  }
  __device__ void make(Channels<d>& channels, float eps) const {
    float x[kOwn], squares = 0;
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      x[j] = channels.k[threadIdx.x % 32 + 32 * j] * scale[j];
      squares += x[j] * x[j];
    }
    const float factor = rsqrtf(lanes_sum(squares, 32) + eps);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) channels.kappa[threadIdx.x % 32 + 32 * j] = x[j] * factor;
  }
};

/// Sums over rows of the state of four columns, and over channels.
struct Read {
  float kappa[4] = {}, r[4] = {};       // kappa S, (r .* exp(-decay)) S
  float of_b = 0, of_k = 0, bonus = 0;  // r b, r k, r .* k .* r_k
};

template <int d>
struct WarpSums {
  static constexpr int kWarps = d / 8;
  float kappa[kWarps][d], r[kWarps][d], of_b[kWarps], of_k[kWarps], bonus[kWarps];

  __device__ static void total(const float (&of_warps)[kWarps][d], float (&x)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      const float4 part = reinterpret_cast<const float4*>(of_warps[warp])[threadIdx.x % (d / 4)];
      x[0] += part.x, x[1] += part.y, x[2] += part.z, x[3] += part.w;
    }
  }
  __device__ static float total(const float (&of_warps)[kWarps]) {
    float x = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) x += of_warps[warp];
    return x;
  }
};

/// Four columns of a head's output: normed, with its bonus, gated.
template <class T, int d>
__device__ void finish(const Rwkv7StepParams& p, float (&o)[4], const float (&v)[4], float bonus,
                       int64_t head, int64_t place) {
  constexpr int kLanes = d / 4;
  const int64_t own = head * d + place % d;
  const Rwkv7Constants& c = p.constants;
  if (c.norm_weight == nullptr) {
#pragma unroll
    for (float& x : o) x *= rsqrtf(d);
  } else {
    const float mean = lanes_sum(o[0] + o[1] + o[2] + o[3], kLanes) / d;
    float squares = 0;
#pragma unroll
    for (float& x : o) x -= mean, squares += x * x;
    const float factor = rsqrtf(lanes_sum(squares, kLanes) / d + p.norm_eps);
    float weight[4], bias[4];
    load_floats(c.norm_weight, c.type, own / 4, weight);
    load_floats(c.norm_bias, c.type, own / 4, bias);
#pragma unroll
    for (int i = 0; i < 4; ++i) o[i] = o[i] * factor * weight[i] + bias[i];
  }
  float gate[4];
  unpack(load_pack<T, 4>(p.gate, place / 4), gate);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    o[i] = (o[i] + bonus * v[i]) * (p.is_sigmoid_gate ? sigmoid(gate[i]) : gate[i]);
  }
}

template <class T, int d>
__global__ void __launch_bounds__(4 * d, d == 64 ? 4 : 2)
    step_kernel(Rwkv7StepParams p, bool is_settled) {
  constexpr int kThreads = 4 * d, kLanes = d / 4, kRows = d / kRowsAtOnce;
  __shared__ Channels<d> channels;
  __shared__ __align__(16) WarpSums<d> sums;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = threadIdx.x / kLanes, column = threadIdx.x % kLanes * 4;
  const int64_t head = blockIdx.x, of_head = head * d;
  const int64_t place = (blockIdx.y * p.heads + head) * d;
  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t slot = p.slots[blockIdx.y];
  if (slot < 0) {
    if (is_settled) wait_for_earlier_kernels();
    if (threadIdx.x < d) static_cast<T*>(p.y)[place + threadIdx.x] = static_cast<T>(0.0F);
    return;
  }
  float4* const state =
      reinterpret_cast<float4*>(p.state + ((slot * p.heads + head) * d + row) * d + column);
  float4 s[kRows];
#pragma unroll
  for (int j = 0; j < kRows; ++j) s[j] = __ldcg(state + j * (kRowsAtOnce * d / 4));
  const Rwkv7Constants& c = p.constants;
  const PairConstants<d> norms(warp == 0 ? c.r_weight : c.k_weight, c.type);
  const KappaMaker<d> kappa(c, of_head);
  // The block's second half makes the decays and rates.
  const int channel = static_cast<int>(threadIdx.x) - kThreads / 2;
  const bool makes_decays = channel >= 0 && channel < d;
  float decay_start = 0, rate_start = 0;
  if (makes_decays) {
    decay_start = constant(c.decay_start, c.type, of_head + channel, 0);
    rate_start = constant(c.rate_start, c.type, of_head + channel, 0);
    channels.key_rate[channel] = constant(c.key_rate, c.type, of_head + channel, 0);
    channels.bonus[channel] = constant(c.bonus, c.type, of_head + channel, 0);
  }
  if (is_settled) wait_for_earlier_kernels();
  const auto row_of = [&](int64_t heads) { return blockIdx.y * heads + head / (p.heads / heads); };
  float v[4];
  unpack(load_pack<T, 4>(p.v, (row_of(p.value_heads) * d + column) / 4), v);
  const int64_t angles = blockIdx.y * (d / 2);
  const HeadRowForm form{p.cos == nullptr ? nullptr : p.cos + angles, p.sin + angles, c.type,
                         p.eps};
  if (warp == 0) {
    prepare<T, d, false>({p.r, c.r_weight, row_of(p.heads)}, norms, form, channels.r);
  } else if (warp == 1) {
    prepare<T, d, false>({p.k, c.k_weight, row_of(p.key_heads)}, norms, form, channels.k);
    __syncwarp();
    kappa.make(channels, p.unit_eps);
  } else if (makes_decays) {
    const auto z = [&](const void* from) {
      return static_cast<float>(__ldcg(static_cast<const T*>(from) + place + channel));
    };
    channels.kept[channel] = __expf(-kMostDecay * sigmoid(z(p.z_decay) + decay_start));
    channels.rate[channel] = sigmoid(z(p.z_rate) + rate_start);
  }
  __syncthreads();

  Read read;
  float b[kRows], k[kRows];
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const int i = row + j * kRowsAtOnce;
    const float r = channels.r[i], key = channels.kappa[i], kept = channels.kept[i];
    const float rate = channels.rate[i];
    b[j] = key * rate;
    k[j] = channels.k[i] *
           (c.kappa_scale == nullptr ? 1 - kept + rate : 1 + (rate - 1) * channels.key_rate[i]);
    const float x[4] = {s[j].x, s[j].y, s[j].z, s[j].w};
#pragma unroll
    for (int n = 0; n < 4; ++n) read.kappa[n] += key * x[n], read.r[n] += r * kept * x[n];
    read.of_b += r * b[j], read.of_k += r * k[j], read.bonus += r * k[j] * channels.bonus[i];
  }
#pragma unroll
  for (int offset = kLanes; offset < 32; offset *= 2) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      read.kappa[n] += __shfl_xor_sync(~0U, read.kappa[n], offset);
      read.r[n] += __shfl_xor_sync(~0U, read.r[n], offset);
    }
    read.of_b += __shfl_xor_sync(~0U, read.of_b, offset);
    read.of_k += __shfl_xor_sync(~0U, read.of_k, offset);
    read.bonus += __shfl_xor_sync(~0U, read.bonus, offset);
  }
  if (lane < kLanes) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      sums.kappa[warp][column + n] = read.kappa[n], sums.r[warp][column + n] = read.r[n];
    }
    if (lane == 0) {
      sums.of_b[warp] = read.of_b, sums.of_k[warp] = read.of_k, sums.bonus[warp] = read.bonus;
    }
  }
  __syncthreads();
  float removed[4];
  WarpSums<d>::total(sums.kappa, removed);
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const float kept = channels.kept[row + j * kRowsAtOnce];
    s[j].x = kept * s[j].x - b[j] * removed[0] + k[j] * v[0];
    s[j].y = kept * s[j].y - b[j] * removed[1] + k[j] * v[1];
    s[j].z = kept * s[j].z - b[j] * removed[2] + k[j] * v[2];
    s[j].w = kept * s[j].w - b[j] * removed[3] + k[j] * v[3];
    state[j * (kRowsAtOnce * d / 4)] = s[j];
  }
  if (warp > 0) return;
  float o[4];
  WarpSums<d>::total(sums.r, o);
  const float of_b = WarpSums<d>::total(sums.of_b), of_k = WarpSums<d>::total(sums.of_k);
#pragma unroll
  for (int n = 0; n < 4; ++n) o[n] += of_k * v[n] - of_b * removed[n];
  finish<T, d>(p, o, v, WarpSums<d>::total(sums.bonus), head, place + column);
  if (row == 0) store_pack(p.y, (place + column) / 4, pack_of<T>(o));
}

template <class T, int d>
Status launch(const Rwkv7StepParams& p, Stream stream) {
  const dim3 blocks(static_cast<unsigned>(p.heads), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, d>, blocks, dim3(4 * d), stream, p, stream.is_settled);
}

template <class T>
Status launch_size(const Rwkv7StepParams& p, Stream stream) {
  if (p.size == 64) return launch<T, 64>(p, stream);
  if (p.size == 128) return launch<T, 128>(p, stream);
  return {"a head size that is not 64 or 128"};
}

}  // namespace

Status rwkv7_step(const Rwkv7StepParams& params, Stream stream) {
  if (params.rows > 65535) return {"more than 65535 rows"};
  if (params.rows == 0) return {};
  return params.type == DType::kBFloat16 ? launch_size<__nv_bfloat16>(params, stream)
                                         : launch_size<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
