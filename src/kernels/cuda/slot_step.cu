// A block takes a row's key head with all of its query heads. It asks for all that it reads at its
// start: slots' keys and rotated keys into registers, values, which come later, into shared memory.
#include "kernels/cuda/head_row.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/slot_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kMostWindow = 64, kTokensOfWarp = kMostWindow / kWarps;
constexpr int kMostGroup = 16;

/// kCount neighbouring numbers of a lane, 2 or 4.
template <int kCount>
struct LaneNumbers {
  float x[kCount];
  __device__ __forceinline__ void load(const float* from) {
    if constexpr (kCount == 4) {
      const float4 y = __ldcg(reinterpret_cast<const float4*>(from));
      x[0] = y.x, x[1] = y.y, x[2] = y.z, x[3] = y.w;
    } else {
      const float2 y = __ldcg(reinterpret_cast<const float2*>(from));
      x[0] = y.x, x[1] = y.y;
    }
  }
  __device__ __forceinline__ void store(float* to) const {
    if constexpr (kCount == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    } else {
      *reinterpret_cast<float2*>(to) = make_float2(x[0], x[1]);
    }
  }
};

/// A block's shared memory, floats.
template <int d, int M>
struct StepFloats {
  float *q, *rotated_q;      // [group, d]
  float* parts;              // [warps, group, max(d, M)]
  float* weights;            // [group, M + 64]: scores, then weights
  float *k, *rotated_k, *v;  // [d], the row's own token
  float *old_k, *old_v;      // [d], the token that leaves
  float *kept, *share;       // [M], of it
  float *values, *window;    // [M, d], [64, d]: of slots, and of the window
  static constexpr int kPart = d > M ? d : M, kScores = M + kMostWindow;

  __device__ __forceinline__ StepFloats(float* base, int group)
      : q(base),
        rotated_q(q + group * d),
        parts(rotated_q + group * d),
        weights(parts + kWarps * group * kPart),
        k(weights + group * kScores),
        rotated_k(k + d),
        v(rotated_k + d),
        old_k(v + d),
        old_v(old_k + d),
        kept(old_v + d),
        share(kept + M),
        values(share + M),
        window(values + M * d) {}
  static int64_t bytes(int64_t group) {
    return 4 * (group * (2 * d + kWarps * kPart + kScores) + 5 * d + 2 * M + (M + kMostWindow) * d);
  }
};

/// One head's row, turned, from a normed one; by one warp.
template <int d>
__device__ __forceinline__ void rotate(const float* x, const float* cos, const float* sin,
                                       float* to) {
#pragma unroll
  for (int i = threadIdx.x % 32; i < d / 2; i += 32) {
    const float c = __ldcg(cos + i), s = __ldcg(sin + i);
    to[i] = x[i] * c - x[i + d / 2] * s;
    to[i + d / 2] = x[i + d / 2] * c + x[i] * s;
  }
}

/// A warp's scores of one head become weights that sum to 1; places that are not of the window have
/// a score of -infinity.
template <int kScores>
__device__ __forceinline__ void weigh(float* scores) {
  constexpr int kOwn = (kScores + 31) / 32;
  const int lane = threadIdx.x % 32;
  float x[kOwn], most = -INFINITY, sum = 0;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    x[i] = lane + 32 * i < kScores ? scores[lane + 32 * i] : -INFINITY;
    most = fmaxf(most, x[i]);
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    most = fmaxf(most, __shfl_xor_sync(~0U, most, offset));
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) x[i] = expf(x[i] - most), sum += x[i];
  sum = lanes_sum(sum, 32);
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    if (lane + 32 * i < kScores) scores[lane + 32 * i] = x[i] / sum;
  }
}

template <class T, int d, int M>
struct StepBlock {
  static constexpr int kLanes = M / 4, kRowsAtOnce = kThreads / kLanes, kRows = d / kRowsAtOnce;
  static constexpr int kOwn = d / 32, kSlotsOfWarp = M / kWarps;  // of a lane, of a warp
  static constexpr int kToken = 3 * d + M;

  const SlotStepParams& p;
  StepFloats<d, M> at;
  int group, lane, warp, place, position;
  int64_t row, head, slot;  // head: of the key heads

  __device__ __forceinline__ StepBlock(const SlotStepParams& params, float* shared)
      : p(params),
        at(shared, static_cast<int>(params.heads / params.key_heads)),
        group(static_cast<int>(params.heads / params.key_heads)),
        lane(threadIdx.x % 32),
        warp(threadIdx.x / 32),
        row(blockIdx.y),
        head(blockIdx.x) {}

  __device__ __forceinline__ float* token_at(int j) const {
    return p.window + ((slot * p.window_size + j) * p.key_heads + head) * kToken;
  }
  /// How many tokens before the row's own the one at place j is.
  __device__ __forceinline__ int age(int j) const {
    return j <= place ? place - j : place - j + static_cast<int>(p.window_size);
  }
  __device__ __forceinline__ bool is_seen(int j) const {
    return j < p.window_size && age(j) <= position;
  }

  /// Asks for values, each warp for those of its slots and its tokens.
  __device__ __forceinline__ void ask_values(const float* state) const {
    constexpr int kOfRow = d / 4;
#pragma unroll
    for (int i = 0; i < kSlotsOfWarp * kOfRow / 32; ++i) {
      const int piece = lane + 32 * i, m = warp + piece / kOfRow * kWarps;
      const int number = m * d + piece % kOfRow * 4;
      copy_async(shared_address(at.values + number), state + number, true);
    }
#pragma unroll
    for (int i = 0; i < kTokensOfWarp * kOfRow / 32; ++i) {
      const int piece = lane + 32 * i, j = warp + piece / kOfRow * kWarps;
      const bool valid = j != place && is_seen(j);
      const int number = piece % kOfRow * 4;
      copy_async(shared_address(at.window + j * d + number),
                 valid ? token_at(j) + 2 * d + number : state, valid);
    }
    commit_copies();
  }

  /// The token that leaves, before the row's own takes its place. One thread a number.
  __device__ __forceinline__ void take_leaving() const {
    const bool leaves = position >= p.window_size;
    const float* const from = token_at(place);
    for (int i = threadIdx.x; i < d; i += kThreads) {
      at.old_k[i] = leaves ? __ldcg(from + i) : 0.0F;
      at.old_v[i] = leaves ? __ldcg(from + 2 * d + i) : 0.0F;
    }
    for (int m = threadIdx.x; m < M; m += kThreads) {
      const float decay = leaves ? __ldcg(from + 3 * d + m) : 0.0F;
      at.kept[m] = expf(-decay), at.share[m] = -expm1f(-decay);
    }
  }

  /// The row's queries, key and value, a warp a head.
  __device__ __forceinline__ void take_token() const {
    const float* const cos = p.cos + row * p.angle_row;
    const float* const sin = p.sin + row * p.angle_row;
    const HeadRowForm form{nullptr, nullptr, p.weight_type, p.eps};
    const int64_t key_row = row * p.key_heads + head;
    for (int h = warp; h <= group; h += kWarps) {
      const bool is_key = h == group;
      const void* const weight = is_key ? p.k_weight : p.q_weight;
      const PairConstants<d> constants(weight, p.weight_type);
      float* const to = is_key ? at.k : at.q + h * d;
      prepare<T, d, false>({is_key ? p.k : p.q, weight, is_key ? key_row : key_row * group + h},
                           constants, form, to);
      __syncwarp();
      rotate<d>(to, cos, sin, is_key ? at.rotated_k : at.rotated_q + h * d);
    }
    for (int i = threadIdx.x; i < d; i += kThreads) {
      at.v[i] = static_cast<float>(__ldcg(static_cast<const T*>(p.v) + key_row * d + i));
    }
  }

  /// After a barrier behind both: the row's own token into the window.
  __device__ __forceinline__ void put_token() const {
    float* const to = token_at(place);
    for (int i = threadIdx.x; i < d; i += kThreads) {
      to[i] = at.k[i], to[d + i] = at.rotated_k[i], to[2 * d + i] = at.v[i];
    }
    const T* const g = static_cast<const T*>(p.g) + (row * p.key_heads + head) * M;
    for (int m = threadIdx.x; m < M; m += kThreads) {
      const float z = -static_cast<float>(__ldcg(g + m));
      to[3 * d + m] = (z > 20 ? z : log1pf(expf(z))) / p.normalizer;
    }
  }

  /// Scores of the slots: the updated keys times each query, summed over a warp's channels.
  __device__ __forceinline__ void score_slots(LaneNumbers<4> (&keys)[kRows], float* state) const {
    const int first = threadIdx.x / kLanes, m = threadIdx.x % kLanes * 4;
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      const int channel = first + j * kRowsAtOnce;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        keys[j].x[i] = keys[j].x[i] * at.kept[m + i] + at.old_k[channel] * at.share[m + i];
      }
      keys[j].store(state + channel * M + m);
    }
    for (int h = 0; h < group; ++h) {
      float sums[4] = {};
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const float query = at.q[h * d + first + j * kRowsAtOnce];
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[i] += query * keys[j].x[i];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int offset = kLanes; offset < 32; offset *= 2) {
          sums[i] += __shfl_xor_sync(~0U, sums[i], offset);
        }
      }
      if (lane < kLanes) {
        float* const to = at.parts + (warp * group + h) * at.kPart + m;
#pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = sums[i];
      }
    }
  }

  __device__ __forceinline__ void score_window(LaneNumbers<kOwn> (&keys)[kTokensOfWarp]) const {
#pragma unroll
    for (int n = 0; n < kTokensOfWarp; ++n) {
      const int j = warp + n * kWarps;
      if (j == place) {
#pragma unroll
        for (int i = 0; i < kOwn; ++i) keys[n].x[i] = at.rotated_k[lane * kOwn + i];
      }
      for (int h = 0; h < group; ++h) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < kOwn; ++i) sum += at.rotated_q[h * d + lane * kOwn + i] * keys[n].x[i];
        sum = lanes_sum(sum, 32);
        if (lane == 0) at.weights[h * at.kScores + M + j] = is_seen(j) ? sum * p.scale : -INFINITY;
      }
    }
  }

  /// The slots' scores from the warps' parts, and the softmax: a warp a head.
  __device__ __forceinline__ void weigh_all() const {
    for (int h = warp; h < group; h += kWarps) {
      for (int m = lane; m < M; m += 32) {
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += at.parts[(w * group + h) * at.kPart + m];
        at.weights[h * at.kScores + m] = sum * p.scale;
      }
      __syncwarp();
      weigh<StepFloats<d, M>::kScores>(at.weights + h * at.kScores);
    }
  }

  /// Each warp's part of the outputs: its slots and its tokens, which it has asked for.
  __device__ __forceinline__ void mean(float* state) const {
    LaneNumbers<kOwn> values[kSlotsOfWarp], window[kTokensOfWarp];
    wait_copies<0>();
    __syncwarp();
#pragma unroll
    for (int n = 0; n < kSlotsOfWarp; ++n) {
      const int m = warp + n * kWarps;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        values[n].x[i] = at.values[m * d + lane * kOwn + i] * at.kept[m] +
                         at.share[m] * at.old_v[lane * kOwn + i];
      }
      values[n].store(state + m * d + lane * kOwn);
    }
#pragma unroll
    for (int n = 0; n < kTokensOfWarp; ++n) {
      const int j = warp + n * kWarps;
      const float* const from = j == place ? at.v : at.window + j * d;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) window[n].x[i] = from[lane * kOwn + i];
    }
    for (int h = 0; h < group; ++h) {
      LaneNumbers<kOwn> sums = {};
      const float* const weights = at.weights + h * at.kScores;
#pragma unroll
      for (int n = 0; n < kSlotsOfWarp; ++n) {
#pragma unroll
        for (int i = 0; i < kOwn; ++i) sums.x[i] += weights[warp + n * kWarps] * values[n].x[i];
      }
#pragma unroll
      for (int n = 0; n < kTokensOfWarp; ++n) {
#pragma unroll
        for (int i = 0; i < kOwn; ++i) sums.x[i] += weights[M + warp + n * kWarps] * window[n].x[i];
      }
      sums.store(at.parts + (warp * group + h) * at.kPart + lane * kOwn);
    }
  }

  __device__ __forceinline__ void store_output() const {
    T* const to = static_cast<T*>(p.o) + (row * p.heads + head * group) * d;
    for (int i = threadIdx.x; i < group * d; i += kThreads) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += at.parts[(w * group + i / d) * at.kPart + i % d];
      to[i] = static_cast<T>(sum);
    }
  }
};

template <class T, int d, int M>
__global__ void __launch_bounds__(kThreads, 2) step_kernel(SlotStepParams p, bool is_settled) {
  extern __shared__ __align__(16) float shared[];
  using Block = StepBlock<T, d, M>;
  Block block(p, shared);
  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  block.slot = p.slots[blockIdx.y];
  if (block.slot < 0) {
    if (is_settled) wait_for_earlier_kernels();
    T* const to = static_cast<T*>(p.o) + (block.row * p.heads + block.head * block.group) * d;
    for (int i = threadIdx.x; i < block.group * d; i += kThreads) to[i] = static_cast<T>(0.0F);
    return;
  }
  block.position = p.positions[blockIdx.y];
  block.place = block.position % static_cast<int>(p.window_size);
  const int64_t state = (block.slot * p.key_heads + block.head) * (d * M);
  LaneNumbers<4> keys[Block::kRows];
#pragma unroll
  for (int j = 0; j < Block::kRows; ++j) {
    keys[j].load(p.slot_keys + state + j * Block::kRowsAtOnce * M + threadIdx.x * 4);
  }
  LaneNumbers<Block::kOwn> window[kTokensOfWarp];  // rotated keys
#pragma unroll
  for (int n = 0; n < kTokensOfWarp; ++n) {
    const int j = block.warp + n * kWarps;
    window[n] = {};
    if (j != block.place && block.is_seen(j)) {
      window[n].load(block.token_at(j) + d + block.lane * Block::kOwn);
    }
  }
  block.ask_values(p.slot_values + state);
  block.take_leaving();
  if (is_settled) wait_for_earlier_kernels();
  block.take_token();
  __syncthreads();
  block.put_token();
  block.score_slots(keys, p.slot_keys + state);
  block.score_window(window);
  __syncthreads();
  block.weigh_all();
  __syncthreads();
  block.mean(p.slot_values + state);
  __syncthreads();
  block.store_output();
}

template <class T, int d, int M>
Status launch(const SlotStepParams& p, Stream stream) {
  const auto bytes = static_cast<int>(StepFloats<d, M>::bytes(p.heads / p.key_heads));
  const Status status = status_of(cudaFuncSetAttribute(
      step_kernel<T, d, M>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  if (!status.ok()) return status;
  const dim3 blocks(static_cast<unsigned>(p.key_heads), static_cast<unsigned>(p.rows));
  return launch_early(step_kernel<T, d, M>, blocks, dim3(kThreads), static_cast<size_t>(bytes),
                      stream, p, stream.is_settled);
}

template <class T, int d>
Status launch_slots(const SlotStepParams& p, Stream stream) {
  if (p.slot_count == 16) return launch<T, d, 16>(p, stream);
  if (p.slot_count == 32) return launch<T, d, 32>(p, stream);
  if (p.slot_count == 64) return launch<T, d, 64>(p, stream);
  return {"a number of slots that is not 16, 32 or 64"};
}

template <class T>
Status launch_size(const SlotStepParams& p, Stream stream) {
  if (p.size == 64) return launch_slots<T, 64>(p, stream);
  if (p.size == 128) return launch_slots<T, 128>(p, stream);
  return {"a head size that is not 64 or 128"};
}

}  // namespace

Status slot_step(const SlotStepParams& params, Stream stream) {
  if (params.rows > 65535) return {"more than 65535 rows"};
  if (params.window_size < 1 || params.window_size > kMostWindow) {
    return {"a window that is not of 1 to 64 tokens"};
  }
  if (params.heads > kMostGroup * params.key_heads) {
    return {"more than 16 query heads of a key head"};
  }
  if (params.rows == 0) return {};
  return params.type == DType::kBFloat16 ? launch_size<__nv_bfloat16>(params, stream)
                                         : launch_size<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
