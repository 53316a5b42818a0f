// A thread goes along a stretch of one sequence with four channels: the inputs that taps reach back
// to stay in registers, as do, backwards, the gradients that they reach forward to.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/resident.cuh"
#include "kernels/cuda/short_convolution.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kWidth = 4;              // channels of a thread
constexpr int kLanes = 32;             // neighbouring threads: neighbouring channels
constexpr int kStretches = 4;          // that a block takes at once
constexpr int kAhead = 4;              // tokens that are asked for together
constexpr int64_t kFewestTokens = 32;  // of a stretch

/// How sequences are cut, and the grid that takes the stretches in turn.
struct Stretches {
  int64_t of_sequence, tokens;  // stretches, and the tokens of each but the last
  dim3 blocks;
};

template <class Kernel>
Stretches stretches_for(Kernel kernel, const ShortConvolutionParams& p) {
  const int64_t packs = p.channels / kWidth, columns = (packs + kLanes - 1) / kLanes;
  const int64_t most = (p.tokens + kFewestTokens - 1) / kFewestTokens;
  const int64_t resident =
      resident_blocks(kernel, kLanes * kStretches, 0, p.batch * most * columns);
  const int64_t wanted = std::max<int64_t>(1, resident / columns) * kStretches;
  Stretches cut{};
  cut.of_sequence = std::min(most, (wanted + p.batch - 1) / p.batch);
  cut.tokens = (p.tokens + cut.of_sequence - 1) / cut.of_sequence;
  const int64_t rows = (p.batch * cut.of_sequence + kStretches - 1) / kStretches;
  cut.blocks =
      dim3(static_cast<unsigned>(columns), static_cast<unsigned>(std::min<int64_t>(rows, 65535)));
  return cut;
}

template <int kTaps>
struct Taps {
  float weight[kTaps][kWidth], bias[kWidth];
};

template <int kTaps>
__device__ __forceinline__ Taps<kTaps> load_taps(const ShortConvolutionParams& p, int64_t pack) {
  Taps<kTaps> taps;
#pragma unroll
  for (int c = 0; c < kWidth; ++c) {
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      taps.weight[i][c] = __ldg(p.weight + (pack * kWidth + c) * kTaps + i);
    }
    taps.bias[c] = p.bias != nullptr ? __ldg(p.bias + pack * kWidth + c) : 0;
  }
  return taps;
}

/// The inputs of one place of the sequence, which may be before its first token.
template <class T>
__device__ __forceinline__ void load_input(const ShortConvolutionParams& p, int64_t sequence,
                                           int64_t token, int64_t pack, float (&x)[kWidth]) {
#pragma unroll
  for (int c = 0; c < kWidth; ++c) x[c] = 0;
  if (token >= 0 && token < p.tokens) {
    const int64_t row = (sequence * p.tokens + token) * p.x_row;
    unpack(load_pack<T, kWidth>(static_cast<const T*>(p.x) + row, pack), x);
  } else if (token < 0 && p.tail != nullptr) {
    const int64_t older = p.taps - 1;
#pragma unroll
    for (int c = 0; c < kWidth; ++c) {
      x[c] = p.tail[(sequence * p.channels + pack * kWidth + c) * older + older + token];
    }
  }
}

template <int kTaps>
__device__ __forceinline__ float convolved(const Taps<kTaps>& taps, const float (&x)[kTaps][kWidth],
                                           int c) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kTaps; ++i) sum += taps.weight[i][c] * x[i][c];
  return sum + taps.bias[c];
}

/// Makes room for the next token's numbers in the last place.
template <int kTaps>
__device__ __forceinline__ void advance(float (&window)[kTaps][kWidth]) {
#pragma unroll
  for (int i = 0; i + 1 < kTaps; ++i) {
#pragma unroll
    for (int c = 0; c < kWidth; ++c) window[i][c] = window[i + 1][c];
  }
}

template <class T, int kTaps>
__global__ void __launch_bounds__(kLanes* kStretches)
    forward_kernel(ShortConvolutionParams p, int64_t of_sequence, int64_t tokens) {
  const int64_t pack = static_cast<int64_t>(blockIdx.x) * kLanes + threadIdx.x;
  if (pack >= p.channels / kWidth) return;
  const Taps<kTaps> taps = load_taps<kTaps>(p, pack);
  const int64_t step = static_cast<int64_t>(gridDim.y) * kStretches;
  for (int64_t i = static_cast<int64_t>(blockIdx.y) * kStretches + threadIdx.y;
       i < p.batch * of_sequence; i += step) {
    const int64_t sequence = i / of_sequence, begin = i % of_sequence * tokens;
    const int64_t end = min(begin + tokens, p.tokens);
    float x[kTaps][kWidth];
#pragma unroll
    for (int j = 0; j + 1 < kTaps; ++j) {
      load_input<T>(p, sequence, begin - kTaps + 1 + j, pack, x[j + 1]);
    }
    const T* const from = static_cast<const T*>(p.x) + sequence * p.tokens * p.x_row;
    T* const to = static_cast<T*>(p.y) + sequence * p.tokens * p.channels;
    Pack<T, kWidth> next[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (begin + j < end) next[j] = load_pack<T, kWidth>(from + (begin + j) * p.x_row, pack);
    }
    for (int64_t first = begin; first < end; first += kAhead) {
      Pack<T, kWidth> now[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        now[j] = next[j];
        const int64_t token = first + kAhead + j;
        if (token < end) next[j] = load_pack<T, kWidth>(from + token * p.x_row, pack);
      }
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        if (first + j >= end) break;
        advance(x);
        unpack(now[j], x[kTaps - 1]);
        float y[kWidth];
#pragma unroll
        for (int c = 0; c < kWidth; ++c) {
          y[c] = convolved(taps, x, c);
          if (p.has_silu) y[c] *= sigmoid(y[c]);
        }
        store_pack(to + (first + j) * p.channels, pack, pack_of<T>(y));
      }
    }
  }
}

/// dL/d(what SiLU is of), of one token whose inputs are the window.
template <int kTaps>
__device__ __forceinline__ void inner_gradient(const Taps<kTaps>& taps,
                                               const float (&x)[kTaps][kWidth], bool has_silu,
                                               float (&gradient)[kWidth]) {
  if (!has_silu) return;
#pragma unroll
  for (int c = 0; c < kWidth; ++c) {
    const float inner = convolved(taps, x, c), s = sigmoid(inner);
    gradient[c] *= s * (1 + inner * (1 - s));
  }
}

template <int kTaps>
struct Sums {
  float weight[kTaps][kWidth] = {}, bias[kWidth] = {};
};

/// Adds up what the stretches of a block found, in a fixed order, and writes the block's part.
template <int kTaps>
__device__ void write_part(const ShortConvolutionBackwardParams& p, const Sums<kTaps>& sums,
                           int64_t pack, bool is_pack) {
  __shared__ float shared[kStretches][kTaps + 1][kWidth][kLanes];
#pragma unroll
  for (int c = 0; c < kWidth; ++c) {
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      shared[threadIdx.y][i][c][threadIdx.x] = sums.weight[i][c];
    }
    shared[threadIdx.y][kTaps][c][threadIdx.x] = sums.bias[c];
  }
  __syncthreads();
  if (!is_pack) return;
  static_assert(kStretches == kWidth);
  const int c = threadIdx.y;  // a thread joins one channel
  const int64_t channel = blockIdx.y * p.forward.channels + pack * kWidth + c;
#pragma unroll
  for (int i = 0; i <= kTaps; ++i) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kStretches; ++j) sum += shared[j][i][c][threadIdx.x];
    if (i < kTaps) {
      p.weight_parts[channel * kTaps + i] = sum;
    } else if (p.bias_parts != nullptr) {
      p.bias_parts[channel] = sum;
    }
  }
}

/// Goes kTaps - 1 tokens beyond its stretch, for the gradients that its last tokens take from
/// there.
template <class T, int kTaps>
__global__ void __launch_bounds__(kLanes* kStretches, 3)
    backward_kernel(ShortConvolutionBackwardParams p, int64_t of_sequence, int64_t tokens) {
  const ShortConvolutionParams& f = p.forward;
  const int64_t pack = static_cast<int64_t>(blockIdx.x) * kLanes + threadIdx.x;
  const bool is_pack = pack < f.channels / kWidth;
  Taps<kTaps> taps{};
  if (is_pack) taps = load_taps<kTaps>(f, pack);
  Sums<kTaps> sums;
  const int64_t step = static_cast<int64_t>(gridDim.y) * kStretches;
  const int64_t count = is_pack ? f.batch * of_sequence : 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.y) * kStretches + threadIdx.y; i < count;
       i += step) {
    const int64_t sequence = i / of_sequence, begin = i % of_sequence * tokens;
    const int64_t end = min(begin + tokens, f.tokens);
    const int64_t last = end + kTaps - 1;  // behind the sequence gradients are zero
    float x[kTaps][kWidth], gradient[kTaps][kWidth] = {};
#pragma unroll
    for (int j = 0; j + 1 < kTaps; ++j) {
      load_input<T>(f, sequence, begin - kTaps + 1 + j, pack, x[j + 1]);
    }
    const T* const from = static_cast<const T*>(f.x) + sequence * f.tokens * f.x_row;
    const T* const dy = static_cast<const T*>(p.dy) + sequence * f.tokens * f.channels;
    T* const dx = static_cast<T*>(p.dx) + sequence * f.tokens * f.channels;
    Pack<T, kWidth> next_x[kAhead], next_dy[kAhead];
    const auto ask = [&](int64_t token, int j) {
      next_x[j] = {}, next_dy[j] = {};
      if (token >= last || token >= f.tokens) return;
      next_x[j] = load_pack<T, kWidth>(from + token * f.x_row, pack);
      next_dy[j] = load_pack<T, kWidth>(dy + token * f.channels, pack);
    };
#pragma unroll
    for (int j = 0; j < kAhead; ++j) ask(begin + j, j);
    for (int64_t first = begin; first < last; first += kAhead) {
      Pack<T, kWidth> now_x[kAhead], now_dy[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        now_x[j] = next_x[j], now_dy[j] = next_dy[j];
        ask(first + kAhead + j, j);
      }
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        const int64_t token = first + j, own = token - kTaps + 1;
        if (token >= last) break;
        advance(x), advance(gradient);
        unpack(now_x[j], x[kTaps - 1]), unpack(now_dy[j], gradient[kTaps - 1]);
        inner_gradient(taps, x, f.has_silu, gradient[kTaps - 1]);
        if (token < end) {
#pragma unroll
          for (int c = 0; c < kWidth; ++c) {
            sums.bias[c] += gradient[kTaps - 1][c];
#pragma unroll
            for (int k = 0; k < kTaps; ++k) {
              sums.weight[k][c] += gradient[kTaps - 1][c] * x[k][c];
            }
          }
        }
        if (own < begin) continue;
        float out[kWidth] = {};
#pragma unroll
        for (int c = 0; c < kWidth; ++c) {
#pragma unroll
          for (int k = 0; k < kTaps; ++k) {
            out[c] += taps.weight[kTaps - 1 - k][c] * gradient[k][c];
          }
        }
        store_pack(dx + own * f.channels, pack, pack_of<T>(out));
      }
    }
  }
  write_part(p, sums, pack, is_pack);
}

/// Calls call(T{}, std::integral_constant<int, taps>{}).
template <class Call>
auto with_kernel(const ShortConvolutionParams& p, const Call& call) {
  const auto with_taps = [&](auto zero) {
    if (p.taps == 2) return call(zero, std::integral_constant<int, 2>{});
    if (p.taps == 3) return call(zero, std::integral_constant<int, 3>{});
    return call(zero, std::integral_constant<int, 4>{});
  };
  return p.type == DType::kBFloat16 ? with_taps(__nv_bfloat16{}) : with_taps(float{});
}

Status check(const ShortConvolutionParams& p) {
  if (p.taps < 2 || p.taps > kMostSequenceTaps) return {"not 2 to 4 taps"};
  return {p.channels % kWidth == 0 ? nullptr : "channels that are no multiple of 4"};
}

constexpr dim3 kThreads(kLanes, kStretches);

}  // namespace

Status short_convolution(const ShortConvolutionParams& params, Stream stream) {
  const Status status = check(params);
  if (!status.ok() || params.batch * params.tokens * params.channels == 0) return status;
  return with_kernel(params, [&](auto zero, auto taps) {
    const auto kernel = forward_kernel<decltype(zero), taps.value>;
    const Stretches cut = stretches_for(kernel, params);
    kernel<<<cut.blocks, kThreads, 0, cuda_stream(stream)>>>(params, cut.of_sequence, cut.tokens);
    return launch_status();
  });
}

int64_t short_convolution_parts(const ShortConvolutionParams& params) {
  return with_kernel(params, [&](auto zero, auto taps) -> int64_t {
    return stretches_for(backward_kernel<decltype(zero), taps.value>, params).blocks.y;
  });
}

Status short_convolution_backward(const ShortConvolutionBackwardParams& params, Stream stream) {
  const ShortConvolutionParams& forward = params.forward;
  Status status = check(forward);
  if (!status.ok()) return status;
  status = with_kernel(forward, [&](auto zero, auto taps) {
    const auto kernel = backward_kernel<decltype(zero), taps.value>;
    const Stretches cut = stretches_for(kernel, forward);
    kernel<<<cut.blocks, kThreads, 0, cuda_stream(stream)>>>(params, cut.of_sequence, cut.tokens);
    return launch_status();
  });
  if (!status.ok()) return status;
  status = sum_parts({params.weight_parts, params.dweight, params.parts,
                      forward.channels * forward.taps, DType::kFloat32},
                     stream);
  if (!status.ok() || params.bias_parts == nullptr) return status;
  return sum_parts(
      {params.bias_parts, params.dbias, params.parts, forward.channels, DType::kFloat32}, stream);
}

}  // namespace hypenet::kernels::cuda
