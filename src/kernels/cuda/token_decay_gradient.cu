// The decay's gradient: a token's is what its readers and all after it have of keys before it. A
// block takes a group of chunks of a head, from the mark at its end.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/token_decay.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kOfWarp = kMarkedChunks / kWarps;  // chunks
// Nats: a chunk that fades this much lets nothing through that bfloat16 would show.
constexpr float kClosed = 8;

__device__ __forceinline__ float2 halves(uint32_t x) {
  return make_float2(__uint_as_float(x << 16), __uint_as_float(x & 0xffff0000U));
}

/// The sum of products of two states' rounded numbers, in every thread.
__device__ float product(const uint32_t* a, const uint32_t* b, int64_t words, float* sums) {
  float sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < words / 4; i += kThreads) {
    const uint4 x = reinterpret_cast<const uint4*>(a)[i], y = reinterpret_cast<const uint4*>(b)[i];
    const uint32_t xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 of_a = halves(xs[j]), of_b = halves(ys[j]);
      sum += of_a.x * of_b.x + of_a.y * of_b.y;
    }
  }
  sum = lanes_sum(sum, 32);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) total += sums[warp];
  return total;
}

/// Two tokens of a chunk a lane, and the chunk's totals.
struct Chunk {
  float2 readers, keys;  // summed over the tokens from a token on; over those before it
  float all_readers, all_keys, decay;
};

__device__ Chunk chunk_of(const DecayGradientParams& p, int64_t row, int64_t token) {
  const auto at = [&](const float* x, int64_t t) {
    return t < p.tokens ? x[row + t * p.heads] : 0;
  };
  const float2 readers = {at(p.readers, token), at(p.readers, token + 1)};
  const float2 keys = {at(p.keys, token), at(p.keys, token + 1)};
  const int lane = threadIdx.x % 32;
  float of_readers = readers.x + readers.y, of_keys = keys.x + keys.y;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float later = __shfl_down_sync(~0U, of_readers, offset);
    const float earlier = __shfl_up_sync(~0U, of_keys, offset);
    if (lane + offset < 32) of_readers += later;
    if (lane >= offset) of_keys += earlier;
  }
  float later = __shfl_down_sync(~0U, of_readers, 1), earlier = __shfl_up_sync(~0U, of_keys, 1);
  if (lane == 31) later = 0;
  if (lane == 0) earlier = 0;
  return {.readers = {later + readers.y + readers.x, later + readers.y},
          .keys = {earlier, earlier + keys.x},
          .all_readers = __shfl_sync(~0U, of_readers, 0),
          .all_keys = __shfl_sync(~0U, of_keys, 31),
          .decay = lanes_sum(at(p.decay, token) + at(p.decay, token + 1), 32)};
}

/// What tokens behind a mark's end read of keys before it, in every thread.
__device__ float crossing_of(const DecayGradientParams& p, int64_t head, int64_t row, int64_t mark,
                             float* sums) {
  const int64_t after = (mark + 1) * kMarkedChunks * kChunk;
  if (mark < 0 || (after >= p.tokens && !p.has_final_gradient)) return 0;
  const int64_t words = p.size * p.size / 2, place = (head * p.marks + mark) * words;
  const float sum = p.scale * product(p.state_marks + place, p.grad_marks + place, words, sums);
  return after < p.tokens ? sum * expf(-p.decay[row + after * p.heads]) : sum;
}

/// A group's chunks, each as its warp has summed it up.
struct Group {
  float readers[kMarkedChunks], keys[kMarkedChunks], decays[kMarkedChunks];

  /// From the end: what crosses a chunk is what crosses its end less what its own keys add there;
  /// visit(chunk, that). Returns what crosses the group's begin.
  template <class Visit>
  __device__ float walk(float crossing, const Visit& visit) const {
    for (int chunk = kMarkedChunks - 1; chunk >= 0; --chunk) {
      const float through = decays[chunk] > kClosed ? 0 : crossing - keys[chunk];
      visit(chunk, through);
      crossing = through + readers[chunk];
    }
    return crossing;
  }

  /// Chunks, of `count`, up to the first that lets nothing through.
  __device__ int open(int count) const {
    int chunk = 0;
    while (chunk < count && decays[chunk] <= kClosed) ++chunk;
    return chunk;
  }
};

__global__ void __launch_bounds__(kThreads) gradient_kernel(DecayGradientParams p) {
  __shared__ float sums[2][kWarps];
  __shared__ Group group;
  const int64_t head = blockIdx.x, mark = blockIdx.y, b = head / p.heads, h = head % p.heads;
  const int64_t row = b * p.tokens * p.heads + h, begin = mark * kMarkedChunks * kChunk;
  const float at_end = crossing_of(p, head, row, mark, sums[0]);
  const float at_begin = crossing_of(p, head, row, mark - 1, sums[1]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Chunk own[kOfWarp];
#pragma unroll
  for (int i = 0; i < kOfWarp; ++i) {
    const int chunk = warp * kOfWarp + i;
    own[i] = chunk_of(p, row, begin + chunk * kChunk + 2 * lane);
    if (lane == 0) {
      group.readers[chunk] = own[i].all_readers, group.keys[chunk] = own[i].all_keys;
      group.decays[chunk] = own[i].decay;
    }
  }
  __syncthreads();
  // Rounding errors of the chunks' sums add up along the walk. What it misses at the begin is
  // shared out to the chunks that it came through.
  const int64_t left = (p.tokens - begin + kChunk - 1) / kChunk;
  const int open = group.open(static_cast<int>(min(left, int64_t{kMarkedChunks})));
  const float found = group.walk(at_end, [](int, float) {});
  const bool is_known = mark > 0 || !p.has_given;
  const float missed = is_known && open > 0 ? (at_begin - found) / static_cast<float>(open) : 0;
  group.walk(at_end, [&](int chunk, float through) {
    if (chunk < open) through += missed * (static_cast<float>(open - chunk) - 0.5F);
#pragma unroll
    for (int i = 0; i < kOfWarp; ++i) {
      if (warp * kOfWarp + i != chunk) continue;
      const int64_t token = begin + chunk * kChunk + 2 * lane;
      const float2 x = {through + own[i].readers.x + own[i].keys.x,
                        through + own[i].readers.y + own[i].keys.y};
      if (token < p.tokens) p.ddecay[row + token * p.heads] = -x.x;
      if (token + 1 < p.tokens) p.ddecay[row + (token + 1) * p.heads] = -x.y;
    }
  });
}

}  // namespace

Status decay_gradient(const DecayGradientParams& params, Stream stream) {
  const dim3 blocks(static_cast<unsigned>(params.batch * params.heads),
                    static_cast<unsigned>(params.marks));
  gradient_kernel<<<blocks, kThreads, 0, cuda_stream(stream)>>>(params);
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
