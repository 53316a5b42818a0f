// Which tokens top-k, top-p and min-p leave, by integers alone: counts and masses of keys
// (kernels/sampling.h), found eight bits of the key at a time.
#pragma once

#include "kernels/cuda/sampling_team.cuh"
#include "kernels/sampling.h"

namespace hypenet::kernels::cuda {

constexpr int kBins = 256;  // of eight bits of a key
constexpr float kLog2E = 1.44269504088896F;

__device__ __forceinline__ float natural_exp(float x) { return exp2f(x * kLog2E); }

/// The bin in which a walk goes on: how much it lacks at the bin's start, and the bin's own weight.
struct Found {
  unsigned bin;
  unsigned long long needed, weight;
};

/// Shared memory of a block. Two sets of sums, in turn: a block clears one while another still
/// reads the other.
struct LimitMemory {
  unsigned low[2][kBins], high[2][kBins];
  unsigned long long warp_sums[kWarps];
  Found found;
};

/// Adds to the sum low + 2^32 high: shared memory has no 64-bit addition of its own.
__device__ __forceinline__ void add_mass(unsigned* low, unsigned* high, unsigned long long mass) {
  const auto part = static_cast<unsigned>(mass);
  const unsigned before = atomicAdd(low, part);
  const unsigned carry = static_cast<unsigned>(mass >> 32) + (before > ~part ? 1 : 0);
  if (carry != 0) atomicAdd(high, carry);
}

/// The largest key that stays: of the keys <= limit, ascending, the last one of those whose weights
/// are needed for the wanted sum. Weights are 1 and the sum top_k, or with kMass probabilities and
/// the sum their share top_p. Eight bits of the key at a time; the same in all threads of the team.
template <int kBlocks, bool kMass>
struct Walk {
  LimitMemory& memory;
  const Slice& slice;
  uint32_t limit;
  float top_p;
  unsigned long long needed;  // top_k, or with kMass set by the first round

  static __device__ __forceinline__ unsigned long long mass_of(uint32_t key) {
    const float probability = natural_exp(-static_cast<float>(key) * kKeyUnit);
    return static_cast<unsigned long long>(probability * kMassOfLikeliest);
  }

  /// Adds the weights of the block's keys that agree with `prefix` in the bits `decided`.
  __device__ void fill(int turn, uint32_t prefix, uint32_t decided, int shift) const {
    if (threadIdx.x < kBins) memory.low[turn][threadIdx.x] = memory.high[turn][threadIdx.x] = 0;
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x; i < slice.count; i += kThreads) {
      const uint32_t key = slice.held[i];
      if (key > limit || (key & decided) != prefix) continue;
      const unsigned bin = (key >> shift) % kBins;
      if constexpr (kMass) {
        const unsigned long long mass = mass_of(key);
        if (mass != 0) add_mass(&memory.low[turn][bin], &memory.high[turn][bin], mass);
      } else {
        atomicAdd(&memory.low[turn][bin], 1U);
      }
    }
  }

  /// Thread b has bin b of all blocks; the first bin at whose end the sum is reached is found.
  __device__ Found find(int turn, bool is_first) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    unsigned long long weight = 0;
    if (threadIdx.x < kBins) {
#pragma unroll
      for (int rank = 0; rank < kBlocks; ++rank) {
        const unsigned low = Team<kBlocks>::of_block(memory.low[turn][threadIdx.x], rank);
        const unsigned high = Team<kBlocks>::of_block(memory.high[turn][threadIdx.x], rank);
        weight += (static_cast<unsigned long long>(high) << 32) + low;
      }
    }
    unsigned long long sum = weight;  // up to and with this bin
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const unsigned long long before = __shfl_up_sync(~0U, sum, offset);
      if (lane >= offset) sum += before;
    }
    if (lane == 31) memory.warp_sums[warp] = sum;
    __syncthreads();
    unsigned long long total = 0;
#pragma unroll
    for (int i = 0; i < kBins / 32; ++i) {
      if (i == warp) sum += total;
      total += memory.warp_sums[i];
    }
    if (kMass && is_first) needed = needed_mass(top_p, total);
    const unsigned long long before = sum - weight;
    if (threadIdx.x < kBins && before < needed && needed <= sum) {
      memory.found = {threadIdx.x, needed - before, weight};
    }
    __syncthreads();
    return memory.found;
  }

  __device__ uint32_t run(int& turn) {
    uint32_t prefix = 0, decided = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      fill(turn, prefix, decided, shift);
      Team<kBlocks>::wait();
      const Found found = find(turn, shift == 24);
      turn ^= 1;
      needed = found.needed;
      prefix |= found.bin << shift;
      decided |= (kBins - 1U) << shift;
      if (needed == found.weight) return prefix | ((1U << shift) - 1);  // the whole bin stays
    }
    return prefix;
  }
};

/// The largest key that top-k, top-p and min-p leave.
template <int kBlocks>
__device__ uint32_t limit_keys(const SampleParams& p, int slot, const Slice& slice,
                               LimitMemory& memory) {
  const int top_k = p.settings[slot].top_k;
  const float top_p = p.settings[slot].top_p;
  uint32_t limit = kNeverDrawn;
  int turn = 0;
  if (top_k > 0 && top_k < p.vocabulary) {
    const auto wanted = static_cast<unsigned long long>(top_k);
    limit = Walk<kBlocks, false>{memory, slice, limit, 0, wanted}.run(turn);
  }
  if (top_p < 1) limit = min(limit, Walk<kBlocks, true>{memory, slice, limit, top_p, 0}.run(turn));
  return min(limit, distance_key(-logf(p.settings[slot].min_p)));
}

}  // namespace hypenet::kernels::cuda
