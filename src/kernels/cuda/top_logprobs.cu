// A block a row. Each thread knows the two likeliest of its tokens that were not told yet, so that
// it seldom reads its share of the row again.
#include "kernels/cuda/candidate.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/top_logprobs.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;

struct Likeliest {
  Candidate first = 0, second = 0;  // 0: none
};

/// Of this thread's tokens that are less likely than `bound`.
__device__ Likeliest likeliest_below(const float* x, int vocabulary, Candidate bound) {
  Likeliest found;
#pragma unroll 8
  for (int token = threadIdx.x; token < vocabulary; token += kThreads) {
    const Candidate own = candidate(x[token], token);
    if (own >= bound || own <= found.second) continue;
    if (own > found.first) {
      found = {own, found.first};
    } else {
      found.second = own;
    }
  }
  return found;
}

__device__ __forceinline__ Candidate largest_of_warp(Candidate own) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    own = max(own, __shfl_xor_sync(~0U, own, offset));
  }
  return own;
}

/// The same in all threads. `of_warps` may be written again after another barrier.
__device__ __forceinline__ Candidate largest_of_block(Candidate own,
                                                      Candidate (&of_warps)[kWarps]) {
  own = largest_of_warp(own);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = own;
  __syncthreads();
  return largest_of_warp(of_warps[threadIdx.x % 32]);
}

__global__ void __launch_bounds__(kThreads) top_kernel(TopLogprobsParams p) {
  __shared__ Candidate of_warps[2][kWarps];  // in turns
  const int64_t row = blockIdx.x;
  const int asked = static_cast<int>(top_of_row(p, row)), V = static_cast<int>(p.vocabulary);
  const int thread = static_cast<int>(threadIdx.x);
  int32_t* const ids = p.top_ids + row * kMostTop;
  float* const logprobs = p.top_logprobs + row * kMostTop;
  if (thread >= asked && thread < kMostTop) ids[thread] = -1, logprobs[thread] = 0;
  if (asked <= 0) return;
  const float* const x = p.logits + row * p.vocabulary;
  Likeliest own = likeliest_below(x, V, ~Candidate{0});
  float largest = 0;
  for (int i = 0; i < asked; ++i) {
    const Candidate top = largest_of_block(own.first, of_warps[i % 2]);
    if (i == 0) largest = value_of(top);
    if (own.first != top) continue;
    ids[i] = token_of(top);
    logprobs[i] = (value_of(top) - largest) - p.log_sums[row];
    own = {own.second, 0};
    if (own.first == 0) own = likeliest_below(x, V, top);
  }
}

}  // namespace

Status top_logprobs(const TopLogprobsParams& params, Stream stream) {
  if (params.vocabulary > 0x7FFFFF00) return {"a vocabulary of more than 2^31 tokens"};
  if (params.rows == 0) return {};
  top_kernel<<<static_cast<unsigned>(params.rows), kThreads, 0, cuda_stream(stream)>>>(params);
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
