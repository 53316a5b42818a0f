// A block takes a head of a row and asks for its whole state first, which goes through memory once.
// kappa S and r S are one sum over the rows of S: the output needs no second one.
#include "kernels/cuda/head_row.cuh"
#include "kernels/cuda/rwkv7_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kRows = 8;                   // of the state, a thread: four columns of each
constexpr float kMostDecay = 0.60653066F;  // e^-0.5, nats per token

/// Number `index` of a parameter, or `otherwise` where there is none.
__device__ float constant(const void* array, DType type, int64_t index, float otherwise) {
  if (array == nullptr) return otherwise;
  float x[1];
  load_floats(array, type, index, x);
  return x[0];
}

/// What a row of the state meets once all of it has been read.
struct Write {
  float kept, b, k;
};

/// What the rows of the state meet.
template <int d>
struct Channels {
  float r[d], k[d], kappa[d], kept[d], rate[d];
  Write writes[d];
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

template <int d>
struct HeadSums {
  static constexpr int kWarps = d * d / (32 * 4 * kRows), kChannelWarps = d / 32;
  // Of each warp's rows: kappa S and (r .* exp(-decay)) S. Of its channels: r b, r k and r .* k .*
  // r_k.
  float kappa[kWarps][d], r[kWarps][d];
  float of_b[kChannelWarps], of_k[kChannelWarps], bonus[kChannelWarps];

  __device__ static void total(const float (&of_warps)[kWarps][d], float (&x)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      const float4 part = reinterpret_cast<const float4*>(of_warps[warp])[threadIdx.x % (d / 4)];
      x[0] += part.x, x[1] += part.y, x[2] += part.z, x[3] += part.w;
    }
  }
  __device__ static float total(const float (&of_warps)[kChannelWarps]) {
    float x = 0;
#pragma unroll
    for (int warp = 0; warp < kChannelWarps; ++warp) x += of_warps[warp];
    return x;
  }
};

/// What is written for a channel, and its share of the sums over channels: by the first d threads.
template <int d>
__device__ void make_writes(Channels<d>& channels, HeadSums<d>& sums, bool is_balanced,
                            float key_rate, float bonus) {
  const int i = threadIdx.x, warp = i / 32;
  const float rate = channels.rate[i], kept = channels.kept[i], r = channels.r[i];
  const float b = channels.kappa[i] * rate;
  const float k = channels.k[i] * (is_balanced ? 1 - kept + rate : 1 + (rate - 1) * key_rate);
  channels.writes[i] = {kept, b, k};
  const float of_b = lanes_sum(r * b, 32), of_k = lanes_sum(r * k, 32);
  const float of_bonus = lanes_sum(r * k * bonus, 32);
  if (i % 32 == 0) sums.of_b[warp] = of_b, sums.of_k[warp] = of_k, sums.bonus[warp] = of_bonus;
}

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
__global__ void __launch_bounds__(d* d / (4 * kRows), d == 64 ? 8 : 2)
    step_kernel(Rwkv7StepParams p, bool is_settled) {
  constexpr int kThreads = d * d / (4 * kRows), kLanes = d / 4, kRowsAtOnce = kThreads / kLanes;
  __shared__ Channels<d> channels;
  __shared__ __align__(16) HeadSums<d> sums;
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
  // The block's second half makes the decays and rates, its first d threads what is written.
  const int channel = static_cast<int>(threadIdx.x) - kThreads / 2;
  const bool makes_decays = channel >= 0 && channel < d, makes_writes = threadIdx.x < d;
  const int own = makes_decays ? channel : static_cast<int>(threadIdx.x) % d;
  const float decay_start = constant(c.decay_start, c.type, of_head + own, 0);
  const float rate_start = constant(c.rate_start, c.type, of_head + own, 0);
  const float key_rate = constant(c.key_rate, c.type, of_head + threadIdx.x % d, 0);
  const float of_bonus = constant(c.bonus, c.type, of_head + threadIdx.x % d, 0);
  if (is_settled) wait_for_earlier_kernels();
  const auto row_of = [&](int64_t heads) {
    return blockIdx.y * heads + blockIdx.x / static_cast<unsigned>(p.heads / heads);
  };
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
  float v[4];
  unpack(load_pack<T, 4>(p.v, (row_of(p.value_heads) * d + column) / 4), v);
  __syncthreads();

  if (makes_writes) make_writes(channels, sums, c.kappa_scale == nullptr, key_rate, of_bonus);
  float of_kappa[4] = {}, of_r[4] = {};
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const int i = row + j * kRowsAtOnce;
    const float key = channels.kappa[i], reader = channels.r[i] * channels.kept[i];
    const float x[4] = {s[j].x, s[j].y, s[j].z, s[j].w};
#pragma unroll
    for (int n = 0; n < 4; ++n) of_kappa[n] += key * x[n], of_r[n] += reader * x[n];
  }
#pragma unroll
  for (int offset = kLanes; offset < 32; offset *= 2) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      of_kappa[n] += __shfl_xor_sync(~0U, of_kappa[n], offset);
      of_r[n] += __shfl_xor_sync(~0U, of_r[n], offset);
    }
  }
  if (lane < kLanes) {
    *reinterpret_cast<float4*>(&sums.kappa[warp][column]) =
        make_float4(of_kappa[0], of_kappa[1], of_kappa[2], of_kappa[3]);
    *reinterpret_cast<float4*>(&sums.r[warp][column]) =
        make_float4(of_r[0], of_r[1], of_r[2], of_r[3]);
  }
  __syncthreads();
  float removed[4];
  HeadSums<d>::total(sums.kappa, removed);
#pragma unroll
  for (int j = 0; j < kRows; ++j) {
    const Write w = channels.writes[row + j * kRowsAtOnce];
    s[j].x = w.kept * s[j].x - w.b * removed[0] + w.k * v[0];
    s[j].y = w.kept * s[j].y - w.b * removed[1] + w.k * v[1];
    s[j].z = w.kept * s[j].z - w.b * removed[2] + w.k * v[2];
    s[j].w = w.kept * s[j].w - w.b * removed[3] + w.k * v[3];
    state[j * (kRowsAtOnce * d / 4)] = s[j];
  }
  if (warp > 0) return;
  float o[4];
  HeadSums<d>::total(sums.r, o);
  const float of_b = HeadSums<d>::total(sums.of_b), of_k = HeadSums<d>::total(sums.of_k);
#pragma unroll
  for (int n = 0; n < 4; ++n) o[n] += of_k * v[n] - of_b * removed[n];
  finish<T, d>(p, o, v, HeadSums<d>::total(sums.bonus), head, place + column);
  if (row == 0) store_pack(p.y, (place + column) / 4, pack_of<T>(o));
}

template <class T, int d>
Status launch(const Rwkv7StepParams& p, Stream stream) {
  const dim3 blocks(static_cast<unsigned>(p.heads), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, d>, blocks, dim3(d * d / (4 * kRows)), stream, p,
                      stream.is_settled);
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
