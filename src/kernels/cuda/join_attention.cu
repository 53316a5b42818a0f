// One pass over all parts: every thread has 8 (bfloat16) or 4 (float32) numbers of a head.
#include "kernels/cuda/join_attention.h"
#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) join_kernel(JoinAttentionParams p) {
  constexpr int kWidth = 16 / sizeof(T);
  const int64_t packs = p.d / kWidth;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= p.T * p.H * packs) return;
  const int64_t row = index / packs;  // token * H + head
  const int64_t place = row % p.H * p.T + row / p.H;
  float most = -INFINITY;
  for (int64_t i = 0; i < p.parts; ++i) most = fmaxf(most, p.logsums[i][place]);
  float sum = 0, joined[kWidth] = {};
  for (int64_t i = 0; i < p.parts; ++i) {
    const float weight = __expf(p.logsums[i][place] - most);
    float x[kWidth];
    unpack(load_pack<T, kWidth>(p.outputs[i], index), x);
    sum += weight;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) joined[j] += weight * x[j];
  }
#pragma unroll
  for (int j = 0; j < kWidth; ++j) joined[j] /= sum;
  store_pack<T, kWidth>(p.joined, index, pack_of<T, kWidth>(joined));
}

template <class T>
Status launch(const JoinAttentionParams& p, Stream stream) {
  const int64_t threads = p.T * p.H * p.d / (16 / static_cast<int64_t>(sizeof(T)));
  const auto blocks = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  join_kernel<T><<<blocks, kThreads, 0, cuda_stream(stream)>>>(p);
  return launch_status();
}

}  // namespace

Status join_attention(const JoinAttentionParams& params, Stream stream) {
  if (params.parts < 1 || params.parts > kMostAttentionParts) return {"parts not from 1 to 32"};
  if (params.d % 8 != 0) return {"a head size that is no multiple of 8"};
  if (params.T == 0) return {};
  return params.type == DType::kBFloat16 ? launch<__nv_bfloat16>(params, stream)
                                         : launch<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
