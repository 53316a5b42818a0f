// A thread takes a channel of a row. Its tail, a few floats, is read whole before x is there.
#include <algorithm>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/short_convolution_step.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads)
    step_kernel(ShortConvolutionStepParams p, bool is_settled) {
  const ShortConvolution& convolution = p.convolutions[blockIdx.y];
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const bool is_channel = channel < convolution.channels;
  const int older = static_cast<int>(p.taps) - 1;

  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t slot = p.slots[blockIdx.z];
  const bool is_row = is_channel && slot >= 0;
  float* const tail =
      convolution.tails + (max(slot, int64_t{0}) * convolution.channels + channel) * older;
  float x[kMostTaps], weight[kMostTaps][1], bias[1] = {0};
#pragma unroll
  for (int i = 0; i < kMostTaps; ++i) {
    if (is_row && i < older) x[i] = __ldcg(tail + i);
    if (is_row && i <= older) {
      load_floats(convolution.weight, p.weight_type, channel * p.taps + i, weight[i]);
    }
  }
  if (is_row && convolution.bias != nullptr) {
    load_floats(convolution.bias, p.weight_type, channel, bias);
  }
  if (is_settled) wait_for_earlier_kernels();
  if (!is_channel) return;
  const int64_t place = blockIdx.z * convolution.channels + channel;
  float y = 0;
  if (is_row) {
    const int64_t from = blockIdx.z * convolution.row + channel;
    const float last = static_cast<float>(__ldcg(static_cast<const T*>(convolution.x) + from));
#pragma unroll
    for (int i = 0; i < kMostTaps; ++i) {
      if (i == older) x[i] = last;
      if (i <= older) y += weight[i][0] * x[i];
      if (i > 0 && i <= older) tail[i - 1] = x[i];
    }
    y += bias[0];
    if (p.has_silu) y *= sigmoid(y);
  }
  static_cast<T*>(convolution.y)[place] = static_cast<T>(y);
}

}  // namespace

Status short_convolution_step(const ShortConvolutionStepParams& params, Stream stream) {
  if (params.count < 1 || params.count > kMostConvolutions) return {"not 1 to 3 convolutions"};
  if (params.taps < 1 || params.taps > kMostTaps) return {"not 1 to 8 taps"};
  if (params.rows > 65535) return {"more than 65535 rows"};
  int64_t channels = 0;
  for (int i = 0; i < params.count; ++i) {
    channels = std::max(channels, params.convolutions[i].channels);
  }
  if (params.rows == 0 || channels == 0) return {};
  const dim3 blocks(static_cast<unsigned>((channels + kThreads - 1) / kThreads),
                    static_cast<unsigned>(params.count), static_cast<unsigned>(params.rows));
  return launch_early(
      params.type == DType::kBFloat16 ? step_kernel<__nv_bfloat16> : step_kernel<float>, blocks,
      dim3(kThreads), stream, params, stream.is_settled);
}

}  // namespace hypenet::kernels::cuda
