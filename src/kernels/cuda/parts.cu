// A block adds 32 columns: 32 warps take the parts in turn, then join their sums.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/parts.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kSide = 32;

template <class T>
__global__ void __launch_bounds__(kSide* kSide) sum_parts_kernel(SumPartsParams p) {
  __shared__ float sums[kSide][kSide + 1];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSide;
  float sum = 0;
  if (first + threadIdx.x < p.size) {
    const float* const column = p.parts + first + threadIdx.x;
#pragma unroll 8
    for (int64_t part = threadIdx.y; part < p.count; part += kSide) sum += column[part * p.size];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  const float total = lanes_sum(sums[threadIdx.x][threadIdx.y], 32);
  if (threadIdx.x == 0 && first + threadIdx.y < p.size) {
    static_cast<T*>(p.out)[first + threadIdx.y] = static_cast<T>(total);
  }
}

}  // namespace

Status sum_parts(const SumPartsParams& params, Stream stream) {
  const dim3 blocks(static_cast<unsigned>((params.size + kSide - 1) / kSide));
  const dim3 threads(kSide, kSide);
  if (params.type == DType::kBFloat16) {
    sum_parts_kernel<__nv_bfloat16><<<blocks, threads, 0, cuda_stream(stream)>>>(params);
  } else {
    sum_parts_kernel<float><<<blocks, threads, 0, cuda_stream(stream)>>>(params);
  }
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
