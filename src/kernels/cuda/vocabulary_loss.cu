// A block takes one row in two passes: one finds the maximum and the sum of exponentials, the other
// writes the gradient over the logits. Each thread reads and writes the same elements in both.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/vocabulary_loss.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kUnderWay = 4;  // packs of a row that a thread has asked memory for
constexpr float kLog2E = 1.44269504088896F;
constexpr float kLowest = -3.402823466e38F;  // finite: the difference of two of them is no NaN

/// Of the elements seen so far: their maximum, and the sum of exp(x - max).
struct Exponentials {
  float max, sum;
};

__device__ __forceinline__ float natural_exp(float x) { return exp2f(x * kLog2E); }

__device__ __forceinline__ Exponentials join(Exponentials a, Exponentials b) {
  const float max = fmaxf(a.max, b.max);
  return {max, a.sum * natural_exp(a.max - max) + b.sum * natural_exp(b.max - max)};
}

template <class T, int kWidth>
__device__ __forceinline__ void include(Exponentials& seen, const Pack<T, kWidth>& pack) {
  float x[kWidth];
  unpack(pack, x);
  float max = seen.max;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) max = fmaxf(max, x[i]);
  float sum = seen.sum * natural_exp(seen.max - max);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sum += natural_exp(x[i] - max);
  seen = {max, sum};
}

/// Of the whole block; the same bits in every thread.
__device__ Exponentials join_block(Exponentials own) {
  __shared__ float maxima[kWarps], sums[kWarps], joined[2];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto join_warp = [&] {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      const float max = __shfl_down_sync(~0U, own.max, offset);
      const float sum = __shfl_down_sync(~0U, own.sum, offset);
      own = join(own, {max, sum});
    }
  };
  join_warp();
  if (lane == 0) maxima[warp] = own.max, sums[warp] = own.sum;
  __syncthreads();
  if (warp == 0) {
    own = lane < kWarps ? Exponentials{maxima[lane], sums[lane]} : Exponentials{kLowest, 0};
    join_warp();
    if (lane == 0) joined[0] = own.max, joined[1] = own.sum;
  }
  __syncthreads();
  return {joined[0], joined[1]};
}

/// The sum over the block, in thread 0.
__device__ float sum_block(float own) {
  __shared__ float sums[kWarps];
  own = lanes_sum(own, 32);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = own;
  __syncthreads();
  return lanes_sum(threadIdx.x < kWarps ? sums[threadIdx.x] : 0, 32);
}

/// The pack is read in order with the stores around it: this row is written too.
template <class T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> load_own(const T* row, int64_t index) {
  using Bits = typename PackStorage<kWidth * sizeof(T)>::Type;
  return {reinterpret_cast<const Bits*>(row)[index]};
}

/// work(first element, pack of logits, pack of the teacher's) for this thread's part of elements
/// begin .. end of a row.
template <int kWidth, bool kTeacher, class T, class Work>
__device__ __forceinline__ void for_packs(const T* logits, const T* teacher, int64_t begin,
                                          int64_t end, Work work) {
  const int64_t packs = (end - begin) / kWidth;
  for (int64_t first = threadIdx.x; first < packs; first += kThreads * kUnderWay) {
    Pack<T, kWidth> z[kUnderWay], t[kUnderWay];
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int64_t index = first + i * kThreads;
      if (index >= packs) break;
      z[i] = load_own<T, kWidth>(logits + begin, index);
      if constexpr (kTeacher) t[i] = load_pack<T, kWidth>(teacher + begin, index);
    }
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int64_t index = first + i * kThreads;
      if (index < packs) work(begin + index * kWidth, z[i], t[i]);
    }
  }
}

/// The whole row: packs of 16 bytes, then single elements.
template <bool kTeacher, class T, class Work>
__device__ __forceinline__ void for_row(const T* logits, const T* teacher, int64_t vocabulary,
                                        Work work) {
  constexpr int kWidth = 16 / sizeof(T);
  const auto address = reinterpret_cast<uintptr_t>(logits) | reinterpret_cast<uintptr_t>(teacher);
  const int64_t packed = address % 16 == 0 ? vocabulary / kWidth * kWidth : 0;
  for_packs<kWidth, kTeacher>(logits, teacher, 0, packed, work);
  for_packs<1, kTeacher>(logits, teacher, packed, vocabulary, work);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) cross_entropy_kernel(VocabularyLossParams p) {
  const int64_t row = blockIdx.x;
  T* const logits = static_cast<T*>(p.logits) + row * p.logits_stride;
  const T* const none = nullptr;
  const int64_t target = p.targets[row];
  // Read now: the second pass writes over it.
  const float target_logit =
      target >= 0 && target < p.vocabulary ? static_cast<float>(logits[target]) : nanf("");
  Exponentials all{kLowest, 0};
  for_row<false>(logits, none, p.vocabulary,
                 [&](int64_t, const auto& z, const auto&) { include(all, z); });
  all = join_block(all);
  const float log_sum = logf(all.sum);
  if (threadIdx.x == 0) p.losses[row] = log_sum - (target_logit - all.max);
  for_row<false>(logits, none, p.vocabulary, [&](int64_t first, const auto& z, const auto&) {
    constexpr int kWidth = sizeof(z.bits) / sizeof(T);
    const int64_t place = target - first;  // the target is here when 0 <= place < kWidth
    float x[kWidth];
    unpack(z, x);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float probability = natural_exp((x[i] - all.max) - log_sum);
      x[i] = (probability - (place == i ? 1.0F : 0.0F)) * p.scale;
    }
    store_pack(logits + first, 0, pack_of<T>(x));
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) kl_divergence_kernel(VocabularyLossParams p) {
  const int64_t row = blockIdx.x;
  T* const logits = static_cast<T*>(p.logits) + row * p.logits_stride;
  const T* const teacher = static_cast<const T*>(p.teacher) + row * p.teacher_stride;
  Exponentials own{kLowest, 0}, expected{kLowest, 0};
  for_row<true>(logits, teacher, p.vocabulary, [&](int64_t, const auto& z, const auto& t) {
    include(own, z);
    include(expected, t);
  });
  own = join_block(own);
  expected = join_block(expected);
  const float own_log = logf(own.sum), expected_log = logf(expected.sum);
  float loss = 0;
  for_row<true>(logits, teacher, p.vocabulary, [&](int64_t first, const auto& z, const auto& t) {
    constexpr int kWidth = sizeof(z.bits) / sizeof(T);
    float x[kWidth], y[kWidth];
    unpack(z, x), unpack(t, y);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      // The maximum goes first: of logits near 1e4 float32 keeps no digits for log(sum).
      const float log_q = (x[i] - own.max) - own_log;
      const float log_p = (y[i] - expected.max) - expected_log;
      const float probability = natural_exp(log_p);
      if (probability != 0) loss += probability * (log_p - log_q);  // NaN passes
      x[i] = (natural_exp(log_q) - probability) * p.scale;
    }
    store_pack(logits + first, 0, pack_of<T>(x));
  });
  loss = sum_block(loss);
  if (threadIdx.x == 0) p.losses[row] = loss;
}

unsigned blocks_of(const VocabularyLossParams& params) {
  return static_cast<unsigned>(params.rows);
}

}  // namespace

Status cross_entropy(const VocabularyLossParams& params, Stream stream) {
  if (params.type == DType::kBFloat16) {
    cross_entropy_kernel<__nv_bfloat16>
        <<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params);
  } else {
    cross_entropy_kernel<float><<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params);
  }
  return launch_status();
}

Status kl_divergence(const VocabularyLossParams& params, Stream stream) {
  if (params.type == DType::kBFloat16) {
    kl_divergence_kernel<__nv_bfloat16>
        <<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params);
  } else {
    kl_divergence_kernel<float><<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params);
  }
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
