// A row is shared by a cluster of eight blocks, which keep it in their shared memory and read each
// other's counts there; before sm_90, or when a row is too long, by one block with scratch memory.
// Reals are never added in an order that depends on other rows; thresholds come from integers.
#include "kernels/cuda/candidate.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/sampling_limits.cuh"
#include "kernels/gumbel.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kCluster = 8;                  // blocks
constexpr int kUnderWay = 5;                 // packs that a thread has asked memory for
constexpr int kReserve = 8192;               // bytes of shared memory beside the row
constexpr float kLowest = -3.402823466e38F;  // finite: the difference of two of them is no NaN
constexpr float kInfinity = __builtin_huge_valf();
constexpr unsigned long long kNotFinite = ~0ULL;  // a Candidate above all others

/// Of the elements seen so far: their maximum, and the sum of exp(x - max).
struct Exponentials {
  float max, sum;
};

/// What a part of a row says of the whole.
struct RowPart {
  Exponentials raw;
  Candidate best;
};

__device__ __forceinline__ RowPart empty_part() { return {{kLowest, 0}, 0}; }

/// The largest value that a thread has met, tokens ascending; whether one was NaN or +infinity.
struct Largest {
  float value = -kInfinity;
  int token = 0x7FFFFFFF;
  bool is_finite = true;

  __device__ __forceinline__ void include(float x, int x_token) {
    if (!(x < kInfinity)) is_finite = false;
    if (x > value) value = x, token = x_token;
  }
  __device__ __forceinline__ Candidate best() const {
    return is_finite ? candidate(value, token) : kNotFinite;
  }
};

template <int kWidth>
__device__ __forceinline__ void include(Exponentials& seen, const float (&x)[kWidth]) {
  float max = seen.max;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) max = fmaxf(max, x[i]);
  float sum = seen.sum * natural_exp(seen.max - max);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sum += natural_exp(x[i] - max);
  seen = {max, sum};
}

/// Lane 0 has the whole warp's part.
__device__ __forceinline__ RowPart join_warp(RowPart part) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float max = __shfl_down_sync(~0U, part.raw.max, offset);
    const float sum = __shfl_down_sync(~0U, part.raw.sum, offset);
    const Candidate best = __shfl_down_sync(~0U, part.best, offset);
    const float both = fmaxf(part.raw.max, max);
    part.raw.sum = part.raw.sum * natural_exp(part.raw.max - both) + sum * natural_exp(max - both);
    part.raw.max = both;
    part.best = best > part.best ? best : part.best;
  }
  return part;
}

/// The row's part of all threads of the team, in each of them. `of_block` may be written again
/// only after another wait of the team.
template <int kBlocks>
__device__ RowPart join_team(RowPart part, RowPart (&of_warps)[kWarps], RowPart& of_block) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  part = join_warp(part);
  if (lane == 0) of_warps[warp] = part;
  __syncthreads();
  if (warp == 0) {
    part = join_warp(lane < kWarps ? of_warps[lane] : empty_part());
    if (lane == 0) of_block = part;
  }
  Team<kBlocks>::wait();
  part = join_warp(lane < kBlocks ? Team<kBlocks>::of_block(of_block, lane) : empty_part());
  part.raw.max = __shfl_sync(~0U, part.raw.max, 0);
  part.raw.sum = __shfl_sync(~0U, part.raw.sum, 0);
  part.best = __shfl_sync(~0U, part.best, 0);
  return part;
}

/// Reads the logits once: their exponentials and the largest. With kHolds they are left in
/// slice.held, after the repetition penalty (change_held is still to come, and the largest).
template <int kWidth, bool kHolds>
__device__ RowPart read_logits(const SampleParams& p, int64_t row, int slot, const Slice& slice) {
  const float* const logits = p.logits + row * p.vocabulary + slice.begin;
  const int32_t* const seen = p.seen + slot * ((p.vocabulary + 31) / 32) + slice.begin / 32;
  const float penalty = p.settings[slot].repetition_penalty;
  const int packs = slice.count / kWidth;
  Exponentials raw{kLowest, 0};
  Largest largest;
  for (int first = threadIdx.x; first < packs; first += kThreads * kUnderWay) {
    Pack<float, kWidth> z[kUnderWay];
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int index = first + i * kThreads;
      if (index < packs) z[i] = load_pack<float, kWidth>(logits, index);
    }
#pragma unroll
    for (int i = 0; i < kUnderWay; ++i) {
      const int index = first + i * kThreads;
      if (index >= packs) break;
      float x[kWidth];
      unpack(z[i], x);
      include(raw, x);
      if (kHolds && penalty != 1.0F) {
        const int token = index * kWidth;  // within the slice, which starts with a word
        const unsigned bits = static_cast<unsigned>(seen[token / 32]) >> (token % 32);
#pragma unroll
        for (int j = 0; j < kWidth; ++j) {
          if ((bits >> j) % 2 != 0) x[j] = x[j] > 0 ? x[j] / penalty : x[j] * penalty;
        }
      }
      if constexpr (kHolds) {
        store_pack(slice.held, index, pack_of<float>(x));
      } else {
#pragma unroll
        for (int j = 0; j < kWidth; ++j) largest.include(x[j], slice.begin + index * kWidth + j);
      }
    }
  }
  return {raw, largest.best()};
}

/// Adds the biases to the held logits.
__device__ void add_biases(const SampleParams& p, int slot, const Slice& slice) {
  float* const x = reinterpret_cast<float*>(slice.held);
  for (int64_t i = threadIdx.x; i < p.biases; i += kThreads) {
    const int64_t entry = slot * p.biases + i;
    const int place = p.bias_ids[entry] - slice.begin;
    // Atomically, for a token that is listed twice.
    if (place >= 0 && place < slice.count) atomicAdd(x + place, p.bias[entry]);
  }
}

/// Subtracts from the held logits what their tokens' counts say.
__device__ void subtract_counted(const SampleParams& p, int slot, const Slice& slice) {
  float* const x = reinterpret_cast<float*>(slice.held);
  const int16_t* const counts = p.counts + slot * counts_stride(p.vocabulary) + slice.begin;
  const float presence = p.settings[slot].presence_penalty;
  const float frequency = p.settings[slot].frequency_penalty;
#pragma unroll 4
  for (int i = threadIdx.x; i < slice.count; i += kThreads) {
    x[i] -= counted_penalty(presence, frequency, counts[i]);
  }
}

/// The row's tokens that may be chosen; null: all.
__device__ __forceinline__ const int32_t* mask_of(const SampleParams& p, int64_t row) {
  const int mask = p.mask_of_row == nullptr ? -1 : __ldcg(p.mask_of_row + row);
  return mask < 0 ? nullptr : p.masks + mask * ((p.vocabulary + 31) / 32);
}

/// Held logits of tokens outside the mask, if there is one, become -infinity.
__device__ void apply_mask(const int32_t* mask, const Slice& slice) {
  float* const x = reinterpret_cast<float*>(slice.held);
  const int32_t* const words = mask + slice.begin / 32;
#pragma unroll 4
  for (int i = threadIdx.x; i < slice.count; i += kThreads) {
    if ((static_cast<unsigned>(__ldcg(words + i / 32)) >> (i % 32)) % 2 == 0) x[i] = -kInfinity;
  }
}

__device__ void apply_bans(const SampleParams& p, int slot, const Slice& slice) {
  float* const x = reinterpret_cast<float*>(slice.held);
  for (int64_t i = threadIdx.x; i < p.bans; i += kThreads) {
    const int token = p.ban_ids[slot * p.bans + i], place = token - slice.begin;
    if (token >= 0 && place >= 0 && place < slice.count) x[place] = -kInfinity;
  }
}

/// What changes the logits before a token is chosen; the same in all threads.
struct Changes {
  const int32_t* mask;
  bool has_penalty, has_counts, has_biases, has_bans;

  __device__ __forceinline__ bool any() const {
    return mask != nullptr || has_penalty || has_counts || has_biases || has_bans;
  }
};

/// Changes the held logits, in the order of ops/sampling.h.
__device__ void change_held(const SampleParams& p, int slot, const Slice& slice,
                            const Changes& changes) {
  if (changes.has_counts) {
    subtract_counted(p, slot, slice);
    __syncthreads();
  }
  if (changes.has_biases) {
    add_biases(p, slot, slice);
    __syncthreads();
  }
  if (changes.mask == nullptr && !changes.has_bans) return;
  if (changes.mask != nullptr) apply_mask(changes.mask, slice);
  if (changes.has_bans) apply_bans(p, slot, slice);  // where both write, they write the same
  __syncthreads();
}

__device__ Candidate largest_held(const Slice& slice) {
  Largest largest;
#pragma unroll 4
  for (int i = threadIdx.x; i < slice.count; i += kThreads) {
    largest.include(__uint_as_float(slice.held[i]), slice.begin + i);
  }
  return largest.best();
}

/// The held logits become keys. Each thread meets the same elements here and in later passes.
__device__ void form_keys(const Slice& slice, float max, float inverse) {
#pragma unroll 4
  for (int i = threadIdx.x; i < slice.count; i += kThreads) {
    slice.held[i] = distance_key((max - __uint_as_float(slice.held[i])) * inverse);
  }
}

/// Shared memory of a block.
struct BlockMemory {
  LimitMemory limits;
  RowPart warp_parts[kWarps], row_part, draw_part;
};

/// The arg max of -distance + noise over this thread's keys <= limit.
__device__ Candidate draw(const Slice& slice, uint32_t limit, uint64_t key_of_draw) {
  Largest largest;
#pragma unroll 2
  for (int i = threadIdx.x; i < slice.count; i += kThreads) {
    const uint32_t key = slice.held[i];
    if (key > limit || key == kNeverDrawn) continue;
    const float u = draw_uniform(key_of_draw, slice.begin + i);
    const float noise = -logf(-log1pf(-u));
    largest.include(noise - static_cast<float>(key) * kKeyUnit, slice.begin + i);
  }
  return largest.best();
}

/// One thread, when no other reads the slot's state any more.
__device__ void write_choice(const SampleParams& p, int64_t row, int slot, int token,
                             Exponentials raw) {
  p.ids[row] = token;
  p.log_sums[row] = logf(raw.sum);
  p.logprobs[row] = (p.logits[row * p.vocabulary + token] - raw.max) - p.log_sums[row];
  p.draws[slot] += 1;
  p.seen[slot * ((p.vocabulary + 31) / 32) + token / 32] |=
      static_cast<int32_t>(1U << (token % 32));
  if (!has_counts(p, p.settings[slot])) return;
  int16_t& count = p.counts[slot * counts_stride(p.vocabulary) + token];
  if (count < kMostCounted) ++count;
}

__device__ __forceinline__ bool has_biases(const SampleParams& p, int slot) {
  bool has = false;
  for (int64_t i = threadIdx.x; i < p.biases; i += kThreads) {
    has = has || p.bias_ids[slot * p.biases + i] >= 0;
  }
  return __syncthreads_or(has ? 1 : 0) != 0;
}

__device__ __forceinline__ Changes changes_of(const SampleParams& p, int64_t row, int slot) {
  const SampleSettings& settings = p.settings[slot];
  return {.mask = mask_of(p, row),
          .has_penalty = settings.repetition_penalty != 1.0F,
          .has_counts = has_counts(p, settings),
          .has_biases = has_biases(p, slot),
          .has_bans = p.draws[slot] < settings.min_tokens};
}

template <int kBlocks, int kWidth>
__global__ void __launch_bounds__(kThreads, 2) sample_kernel(SampleParams p, uint32_t* scratch) {
  extern __shared__ __align__(16) uint32_t shared_row[];
  __shared__ BlockMemory memory;
  const int64_t row = blockIdx.y;
  const bool is_writer = blockIdx.x == 0 && threadIdx.x == 0;
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int slot = p.slots[row];
  if (slot < 0) {
    if (is_writer) p.ids[row] = 0, p.logprobs[row] = 0, p.log_sums[row] = 0;
    return;
  }
  const int64_t share = slice_tokens(p.vocabulary, kBlocks), begin = blockIdx.x * share;
  const int64_t count = max(int64_t{0}, min(share, p.vocabulary - begin));
  const Slice slice{static_cast<int>(begin), static_cast<int>(count),
                    kBlocks > 1 ? shared_row : scratch + row * p.vocabulary};
  const float temperature = p.settings[slot].temperature;
  const bool is_greedy = !(temperature > 0);
  const Changes changes = changes_of(p, row, slot);

  RowPart part;
  if (is_greedy && !changes.any()) {
    part = read_logits<kWidth, false>(p, row, slot, slice);
  } else {
    part = read_logits<kWidth, true>(p, row, slot, slice);
    __syncthreads();
    change_held(p, slot, slice, changes);
    part.best = largest_held(slice);
  }
  part = join_team<kBlocks>(part, memory.warp_parts, memory.row_part);
  // A row of -infinity has the sum 0, one with +infinity or NaN the sum NaN.
  const bool is_finite = part.best != kNotFinite && part.raw.sum > 0 && part.raw.sum < kInfinity;
  const bool is_usable = is_finite && value_of(part.best) > -kInfinity;
  Candidate best = part.best;
  if (is_usable && !is_greedy) {
    form_keys(slice, value_of(part.best), inverse_temperature(temperature));
    const uint32_t limit = limit_keys<kBlocks>(p, slot, slice, memory.limits);
    const Candidate own = draw(slice, limit, draw_key(p.settings[slot].seed, p.draws[slot]));
    best = join_team<kBlocks>({part.raw, own}, memory.warp_parts, memory.draw_part).best;
  }
  if (is_writer && is_usable) write_choice(p, row, slot, token_of(best), part.raw);
  if (is_writer && !is_usable) {
    p.ids[row] = is_finite ? kIdNoToken : kIdNotFinite;
    p.logprobs[row] = p.log_sums[row] = 0;
  }
  Team<kBlocks>::wait();  // no block leaves while another reads its memory
}

struct Device {
  int major = 0, shared_bytes = 0;
};

Status find_device(Device& device) {
  int number = 0;
  cudaError_t error = cudaGetDevice(&number);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&device.major, cudaDevAttrComputeCapabilityMajor, number);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&device.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                   number);
  }
  return status_of(error);
}

bool holds_rows(const Device& device, int64_t vocabulary) {
  const int64_t bytes = slice_tokens(vocabulary, kCluster) * int64_t{sizeof(uint32_t)};
  return device.major >= 9 && bytes + kReserve <= device.shared_bytes;
}

template <int kBlocks, int kWidth>
Status launch(const SampleParams& p, uint32_t* scratch, const Device& device, Stream stream) {
  static_assert(sizeof(BlockMemory) <= kReserve, "shared memory beside the row");
  const auto kernel = sample_kernel<kBlocks, kWidth>;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = kBlocks;
  attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kBlocks, static_cast<unsigned>(p.rows));
  config.blockDim = dim3(kThreads);
  config.stream = cuda_stream(stream);
  config.attrs = attributes;
  config.numAttrs = device.major < 9 ? 0 : kBlocks > 1 ? 2 : 1;
  if (kBlocks > 1) {
    const int64_t bytes = slice_tokens(p.vocabulary, kBlocks) * int64_t{sizeof(uint32_t)};
    config.dynamicSmemBytes = static_cast<size_t>(bytes);
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (error != cudaSuccess) return status_of(error);
  }
  return status_of(cudaLaunchKernelEx(&config, kernel, p, scratch));
}

template <int kBlocks>
Status launch_width(const SampleParams& p, uint32_t* scratch, const Device& device, Stream stream) {
  const bool has_packs = p.vocabulary % 4 == 0 && is_aligned(p.logits);
  return has_packs ? launch<kBlocks, 4>(p, scratch, device, stream)
                   : launch<kBlocks, 1>(p, scratch, device, stream);
}

}  // namespace

int64_t sample_scratch_words(int64_t rows, int64_t vocabulary) {
  Device device;
  const bool needs = !find_device(device).ok() || !holds_rows(device, vocabulary);
  return needs ? rows * vocabulary : 0;
}

Status sample_tokens(const SampleParams& params, uint32_t* scratch, Stream stream) {
  if (params.rows > 65535) return {"more than 65535 rows"};
  if (params.vocabulary > 0x7FFFFF00) return {"a vocabulary of more than 2^31 tokens"};
  if (params.rows == 0) return {};
  Device device;
  const Status found = find_device(device);
  if (!found.ok()) return found;
  return holds_rows(device, params.vocabulary)
             ? launch_width<kCluster>(params, scratch, device, stream)
             : launch_width<1>(params, scratch, device, stream);
}

}  // namespace hypenet::kernels::cuda
