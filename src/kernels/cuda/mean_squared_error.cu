// As many blocks as there are parts, each over every kSquaredErrorParts-th stretch.
#include "kernels/cuda/mean_squared_error.h"
#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kUnderWay = 2;  // packs of each tensor that a thread has asked memory for

/// Writes the gradient of elements begin .. end; returns this thread's sum of squares.
template <int kWidth, class T>
__device__ __forceinline__ float over_packs(const MeanSquaredErrorParams& p, int64_t begin,
                                            int64_t end) {
  const T* const output = static_cast<const T*>(p.output) + begin;
  const T* const expected = static_cast<const T*>(p.expected) + begin;
  T* const gradient = static_cast<T*>(p.gradient) + begin;
  const int64_t packs = (end - begin) / kWidth;
  constexpr int64_t kStretch = kThreads * kSquaredErrorParts;
  float squares = 0;
  for (int64_t first = blockIdx.x * kThreads + threadIdx.x; first < packs;
       first += kStretch * kUnderWay) {
    Pack<T, kWidth> o[kUnderWay], e[kUnderWay];
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int64_t index = first + i * kStretch;
      if (index >= packs) break;
      o[i] = load_pack<T, kWidth>(output, index);
      e[i] = load_pack<T, kWidth>(expected, index);
    }
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int64_t index = first + i * kStretch;
      if (index >= packs) break;
      float x[kWidth], y[kWidth];
      unpack(o[i], x), unpack(e[i], y);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        const float error = x[j] - y[j];
        squares += error * error;
        x[j] = error * p.scale;
      }
      store_pack(gradient, index, pack_of<T>(x));
    }
  }
  return squares;
}

template <class T>
__global__ void __launch_bounds__(kThreads) mean_squared_error_kernel(MeanSquaredErrorParams p) {
  constexpr int kWidth = 16 / sizeof(T);
  __shared__ float sums[kThreads / 32];
  const auto address = reinterpret_cast<uintptr_t>(p.output) |
                       reinterpret_cast<uintptr_t>(p.expected) |
                       reinterpret_cast<uintptr_t>(p.gradient);
  const int64_t packed = address % 16 == 0 ? p.count / kWidth * kWidth : 0;
  float squares = over_packs<kWidth, T>(p, 0, packed);
  squares += over_packs<1, T>(p, packed, p.count);
  squares = lanes_sum(squares, 32);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  squares = lanes_sum(threadIdx.x < kThreads / 32 ? sums[threadIdx.x] : 0, 32);
  if (threadIdx.x == 0) p.parts[blockIdx.x] = squares / static_cast<float>(p.count);
}

}  // namespace

Status mean_squared_error(const MeanSquaredErrorParams& params, Stream stream) {
  const auto blocks = static_cast<unsigned>(kSquaredErrorParts);
  if (params.type == DType::kBFloat16) {
    mean_squared_error_kernel<__nv_bfloat16><<<blocks, kThreads, 0, cuda_stream(stream)>>>(params);
  } else {
    mean_squared_error_kernel<float><<<blocks, kThreads, 0, cuda_stream(stream)>>>(params);
  }
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
