// The passes with a decay per token on Hopper: lightning's round of products (lightning_hopper.cu)
// with factors that each chunk's decays make, and the states that segments leave for the next.
#include "kernels/cuda/token_decay_products.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// Shared memory of a block, from a multiple of 1024. kTensors: tiles of a chunk.
template <int kSize, int kTensors, int kStages_>
struct Geometry {
  static constexpr int kStages = kStages_;
  static constexpr int kThreads = 128 * kGroups<kSize>;
  static constexpr int kTile = kGroups<kSize> * kPanel;
  static constexpr bool kHasOutput = kTensors > 2, kHasDots = kTensors > 3;
  // Used in turn where two warpgroups read them.
  static constexpr int kScorePanels = kGroups<kSize>;
  // A chunk's are written two rounds before they are read.
  static constexpr int kPairSets = kGroups<kSize> == 1 ? 2 : 3;
  static constexpr int kPairs = (kGroups<kSize> + 4) * kChunk;  // numbers of a set
  static constexpr int kWarps = 4 * kGroups<kSize>;

  static constexpr int kScores = kStages * kTensors * kTile;
  static constexpr int kDecays = kScores + (kHasOutput ? kScorePanels * kPanel : 0);
  static constexpr int kFactors = kDecays + kStages * 2 * kChunk * 4;
  static constexpr int kPairsAt = kFactors + 2 * kGroups<kSize> * kFactorCount * 4;
  static constexpr int kDots = kPairsAt + (kHasDots ? kPairSets * kPairs * 4 : 0);
  static constexpr int kBytes = kDots + (kHasDots ? 2 * kWarps * kChunk * 4 : 0) + 1024;
};

template <int kSize, bool kBackward>
using PassGeometry = Geometry<kSize, kBackward ? 4 : 3, kSize == 128 && !kBackward ? 4 : 3>;
template <int kSize>
using GatherGeometry = Geometry<kSize, 2, 3>;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// A block's shared memory and place in it.
template <int kSize, class G>
struct Block {
  const PassParams& p;
  const Pass& pass;
  const Walk& walk;
  char* shared;
  uint32_t base;
  int group = threadIdx.x / 128;
  Loader<kSize, G::kThreads> loader = {};

  __device__ uint32_t tile(int64_t chunk, int tensor) const {
    return base +
           (static_cast<int>(chunk % G::kStages) * (G::kScores / G::kStages / G::kTile) + tensor) *
               G::kTile;
  }
  __device__ float* decays(int64_t chunk) const {
    return reinterpret_cast<float*>(shared + G::kDecays) +
           static_cast<int>(chunk % G::kStages) * 2 * kChunk;
  }
  /// Each warpgroup makes its own.
  __device__ float* factors(int64_t chunk) const {
    return reinterpret_cast<float*>(shared + G::kFactors) +
           (static_cast<int>(chunk % 2) * kGroups<kSize> + group) * kFactorCount;
  }
  __device__ char* scores(int64_t chunk) const {
    return shared + G::kScores + static_cast<int>(chunk % G::kScorePanels) * kPanel;
  }
  __device__ PairSums pairs(int64_t chunk) const {
    float* const set = reinterpret_cast<float*>(shared + G::kPairsAt) +
                       static_cast<int>(chunk % G::kPairSets) * G::kPairs;
    return {set, set + kGroups<kSize> * kChunk};
  }
  __device__ float* dots(int64_t chunk) const {
    return reinterpret_cast<float*>(shared + G::kDots) +
           static_cast<int>(chunk % 2) * G::kWarps * kChunk;
  }

  /// Asks for a chunk, and for the decays of the one after it.
  __device__ void load(int64_t chunk) const {
    if (chunk < walk.end) {
      if constexpr (G::kHasOutput) loader.load(tile(chunk, 0), pass.q, walk, chunk);
      loader.load(tile(chunk, G::kHasOutput ? 1 : 0), pass.k, walk, chunk);
      loader.load(tile(chunk, G::kHasOutput ? 2 : 1), pass.v, walk, chunk);
      if constexpr (G::kHasDots) loader.load(tile(chunk, 3), pass.r, walk, chunk);
      if (chunk + 1 < walk.end) load_decays(decays(chunk + 1), p, walk, chunk + 1);
    }
    commit_copies();
  }
  __device__ void make_factors_of(int64_t chunk) const {
    if (threadIdx.x % 128 < 32) make_factors(factors(chunk), decays(chunk), p, walk.reverse);
  }
  __device__ void wait_for_group() const {
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
  }
};

/// The state before the segment: the given one and what the segments before it made, as far as the
/// decay has left of them.
template <int kSize>
__device__ __forceinline__ void start_state(State<kSize>& state, const PassParams& p,
                                            const Pass& pass, const Walk& walk, int group) {
  const float* const fades = pass.fades + walk.head * p.segments;
  float fade = 0;
  int64_t from = walk.segment;
  while (from > 0 && fade > kForgotten) fade += fades[--from];
  if (from == 0 && fade > kForgotten && pass.given != nullptr) {
    const float* const given = pass.given + walk.head * kSize * kSize;
    for_each_element<kSize>(state, group, [&](float& x, int straight, int transposed) {
      x = pass.given_factor * given[pass.given_transposed ? transposed : straight];
    });
  }
  for (; from < walk.segment; ++from) {
    const float* const made = pass.segments + (walk.head * p.segments + from) * kSize * kSize;
    const float across = exp2_fast(fades[from]);
    for_each_element<kSize>(state, group, [&](float& x, int straight, int transposed) {
      x = x * across + made[pass.segments_transposed ? transposed : straight];
    });
  }
}

/// The pass's rows of tokens out of this warpgroup's panel.
template <int kSize>
__device__ __forceinline__ void store_rows(const Pass& pass, const Walk& walk, int64_t chunk,
                                           const char* panel, int group) {
  const int row = threadIdx.x % 128 / 8, piece = threadIdx.x % 8;
  const int64_t position = chunk * kChunk + row;
  char* to = static_cast<char*>(pass.o) + walk.place_of(position) * (2 * kSize) + group * kRow +
             16 * piece;
  const char* const from = panel + swizzled<kRow>(row, piece);
#pragma unroll
  for (int i = 0; i < kChunk / 16; ++i, to += 16 * walk.step * (2 * kSize)) {
    if (!walk.is_token(position + 16 * i)) continue;
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from + i * 16 * kRow);
  }
}

/// A chunk's numbers of each token, from what the warps have left of it.
template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void store_dots(const Block<kSize, G>& block, int64_t chunk) {
  const int token = static_cast<int>(threadIdx.x) - kChunk;  // warp 0 makes factors
  if (token < 0 || token >= kChunk || block.pass.dots == nullptr) return;
  const int64_t position = chunk * kChunk + token;
  if (!block.walk.is_token(position)) return;
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < G::kWarps; ++warp) sum += block.dots(chunk)[warp * kChunk + token];
  if (kKind == PassKind::kQueries) {
    const PairSums pairs = block.pairs(chunk);
    float of_pairs = 0;
#pragma unroll
    for (int group = 0; group < kGroups<kSize>; ++group) {
      of_pairs += pairs.readers[group * kChunk + token];
    }
#pragma unroll
    for (int warp = 0; warp < 4; ++warp) of_pairs -= pairs.keys[warp * kChunk + token];
    sum += of_pairs;
  }
  block.pass.dots[block.walk.place_of(position)] = sum;
}

/// The state before a chunk, rounded, where both directions leave theirs.
template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void mark_state(const Block<kSize, G>& block, int64_t chunk,
                                           const uint32_t (&rounded)[kSize / 16][4]) {
  if (block.pass.marks == nullptr) return;
  const int64_t chunks = block.walk.chunks;
  const int64_t behind = kKind == PassKind::kKeys ? chunks - chunk : chunk;  // chunks, in time
  if (behind == 0 || (behind % kMarkedChunks != 0 && behind != chunks)) return;
  const int64_t marks = (chunks + kMarkedChunks - 1) / kMarkedChunks;
  const int64_t mark = block.walk.head * marks + (behind - 1) / kMarkedChunks;
  uint32_t* const to = block.pass.marks + mark * (kSize * kSize / 2) + threadIdx.x;
#pragma unroll
  for (int d = 0; d < kSize / 16; ++d) {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[(4 * d + i) * G::kThreads] = rounded[d][i];
  }
}

template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void run(const Block<kSize, G>& block) {
  const PassParams& p = block.p;
  const Pass& pass = block.pass;
  const Walk& walk = block.walk;
  const int group = block.group;
  constexpr bool kHasDots = G::kHasDots,
                 kHasMarks = kKind == PassKind::kQueries || kKind == PassKind::kKeys;
  const auto score = [&](int64_t chunk, Scores<kSize>& sums, Scores<kSize>& products) {
    multiply_scores<kSize>(sums, block.tile(chunk, 0), block.tile(chunk, 1), group);
    if constexpr (kKind == PassKind::kQueries) {
      multiply_scores<kSize>(products, block.tile(chunk, 3), block.tile(chunk, 2), group);
    }
    commit_products();
  };
  load_decays(block.decays(walk.first), p, walk, walk.first);
  for (int64_t i = 0; i < G::kStages - 1; ++i) block.load(walk.first + i);
  State<kSize> state = {};
  start_state<kSize>(state, p, pass, walk, group);
  Scores<kSize> scores, products;
  wait_copies<G::kStages - 2>();
  publish_shared();
  __syncthreads();
  block.make_factors_of(walk.first);
  begin_products();
  score(walk.first, scores, products);
  wait_products<0>();
  pin(scores);
  if constexpr (kKind == PassKind::kQueries) pin(products);
  block.wait_for_group();
  write_scores<kSize, kKind>(scores, products, block.scores(walk.first), block.factors(walk.first),
                             p.scale, group, block.pairs(walk.first));
  for (int64_t chunk = walk.first; chunk < walk.end; ++chunk) {
    // The chunk after this one too is needed, for its scores.
    wait_copies<G::kStages - 3>();
    publish_shared();
    __syncthreads();
    block.load(chunk + G::kStages - 1);
    if constexpr (kHasDots) {
      if (chunk > walk.first) store_dots<kSize, kKind>(block, chunk - 1);
    }
    const uint32_t values = block.tile(chunk, 2) + group * kPanel;
    uint32_t rounded[kSize / 16][4], faded[kChunk / 16][4];
    round_state<kSize>(rounded, state);
    if constexpr (kHasMarks) mark_state<kSize, kKind>(block, chunk, rounded);
    prepare_update<kSize>(state, faded, values, block.factors(chunk));
    Output before, within;
    begin_products();
    read_state<kSize>(before, rounded, block.tile(chunk, 0));
    add_chunk(within, shared_address(block.scores(chunk)), values);
    commit_products();
    score(chunk + 1, scores, products);
    update_state<kSize>(state, faded, block.tile(chunk, 1));
    commit_products();
    block.make_factors_of(chunk + 1);
    wait_products<2>();
    pin(before);
    pin(within);
    block.wait_for_group();  // until all its warps have read the values
    finish_output<kKind>(before, within, block.factors(chunk), values,
                         block.tile(chunk, 3) + group * kPanel,
                         block.dots(chunk) + threadIdx.x / 32 * kChunk);
    block.wait_for_group();
    store_rows<kSize>(pass, walk, chunk, block.shared + (values - block.base), group);
    wait_products<1>();
    pin(scores);
    if constexpr (kKind == PassKind::kQueries) pin(products);
    write_scores<kSize, kKind>(scores, products, block.scores(chunk + 1), block.factors(chunk + 1),
                               p.scale, group, block.pairs(chunk + 1));
    wait_products<0>();
    pin(state);
  }
  if constexpr (kHasDots) {
    __syncthreads();
    store_dots<kSize, kKind>(block, walk.end - 1);
  }
  if (walk.end < walk.chunks) return;
  if constexpr (kKind == PassKind::kQueries) {
    uint32_t rounded[kSize / 16][4];
    round_state<kSize>(rounded, state);
    mark_state<kSize, kKind>(block, walk.chunks, rounded);
  }
  if (pass.final_state == nullptr) return;
  float factor = 1;
  if (walk.reverse)
    factor = pass.final_factor * exp2_fast(-kLog2E * p.decay[walk.place_of(walk.high - 1)]);
  float* const to = pass.final_state + walk.head * kSize * kSize;
  for_each_element<kSize>(state, group,
                          [&](float& x, int straight, int) { to[straight] = x * factor; });
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

template <int kSize, bool kBackward>
__global__ void __launch_bounds__(PassGeometry<kSize, kBackward>::kThreads, kSize == 64 ? 2 : 1)
    pass_kernel(const __grid_constant__ PassParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = PassGeometry<kSize, kBackward>;
  extern __shared__ char unaligned[];
  const uint32_t base = (shared_address(unaligned) + 1023) / 1024 * 1024;
  const Pass& pass = p.passes[blockIdx.x % p.pass_count];
  const Walk walk = walk_of(p, pass, blockIdx.x / p.pass_count);
  if (walk.first >= walk.end) return;
  const Block<kSize, G> block{p, pass, walk, unaligned + (base - shared_address(unaligned)), base};
  if constexpr (kBackward) {
    if (pass.kind == PassKind::kQueries) run<kSize, PassKind::kQueries>(block);
    if (pass.kind == PassKind::kKeys) run<kSize, PassKind::kKeys>(block);
    if (pass.kind == PassKind::kValues) run<kSize, PassKind::kValues>(block);
  } else {
    run<kSize, PassKind::kForward>(block);
  }
#else
  __trap();  // has_token_decay says sm_90 alone, so it was built without sm_90a
#endif
}

/// All segments but the last of each head, from a zero state.
template <int kSize>
__global__ void __launch_bounds__(GatherGeometry<kSize>::kThreads, kSize == 64 ? 4 : 2)
    gather_kernel(const __grid_constant__ PassParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = GatherGeometry<kSize>;
  extern __shared__ char unaligned[];
  const uint32_t base = (shared_address(unaligned) + 1023) / 1024 * 1024;
  const Pass& pass = p.passes[blockIdx.x % p.pass_count];
  const Walk walk = walk_of(p, pass, blockIdx.x / p.pass_count);
  if (walk.first >= walk.end) return;
  const Block<kSize, G> block{p, pass, walk, unaligned + (base - shared_address(unaligned)), base};
  load_decays(block.decays(walk.first), p, walk, walk.first);
  for (int64_t i = 0; i < G::kStages - 1; ++i) block.load(walk.first + i);
  State<kSize> state = {};
  float fade = 0;
  wait_copies<G::kStages - 2>();
  __syncthreads();
  block.make_factors_of(walk.first);
  for (int64_t chunk = walk.first; chunk < walk.end; ++chunk) {
    wait_copies<G::kStages - 2>();
    publish_shared();
    __syncthreads();
    block.load(chunk + G::kStages - 1);
    block.make_factors_of(chunk + 1);
    uint32_t faded[kChunk / 16][4];
    fade += block.factors(chunk)[kSum + kChunk - 1];
    prepare_update<kSize>(state, faded, block.tile(chunk, 1) + block.group * kPanel,
                          block.factors(chunk));
    begin_products();
    update_state<kSize>(state, faded, block.tile(chunk, 0));
    commit_products();
    wait_products<0>();
    pin(state);
  }
  const int64_t place = walk.head * p.segments + walk.segment;
  float* const to = pass.segments + place * kSize * kSize;
  for_each_element<kSize>(state, block.group,
                          [&](float& x, int straight, int) { to[straight] = x; });
  if (threadIdx.x == 0) pass.fades[place] = fade;
#else
  __trap();
#endif
}

template <class Kernel>
Status launch(Kernel kernel, const PassParams& params, int64_t segments, int threads, int bytes,
              Stream stream) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return status_of(error);
  const int64_t blocks = params.pass_count * params.batch * params.heads * segments;
  if (blocks > INT32_MAX) return {"more than 2^31 blocks"};
  kernel<<<static_cast<unsigned>(blocks), threads, bytes, cuda_stream(stream)>>>(params);
  return launch_status();
}

template <int kSize, bool kBackward>
Status launch_passes(const PassParams& params, Stream stream) {
  using G = PassGeometry<kSize, kBackward>;
  return launch(pass_kernel<kSize, kBackward>, params, params.segments, G::kThreads, G::kBytes,
                stream);
}

template <int kSize>
Status launch_gather(const PassParams& params, Stream stream) {
  using G = GatherGeometry<kSize>;
  return launch(gather_kernel<kSize>, params, params.segments - 1, G::kThreads, G::kBytes, stream);
}

}  // namespace

Status run_passes(const PassParams& params, int64_t size, bool is_backward, Stream stream) {
  if (size == 64) {
    return is_backward ? launch_passes<64, true>(params, stream)
                       : launch_passes<64, false>(params, stream);
  }
  return is_backward ? launch_passes<128, true>(params, stream)
                     : launch_passes<128, false>(params, stream);
}

Status gather_segments(const PassParams& params, int64_t size, Stream stream) {
  return size == 64 ? launch_gather<64>(params, stream) : launch_gather<128>(params, stream);
}

int64_t pass_blocks(int64_t size, bool /*is_backward*/) { return size == 64 ? 2 : 1; }

int64_t pass_bytes(int64_t size, bool is_backward) {
  if (size == 64) {
    return is_backward ? PassGeometry<64, true>::kBytes : PassGeometry<64, false>::kBytes;
  }
  return is_backward ? PassGeometry<128, true>::kBytes : PassGeometry<128, false>::kBytes;
}

}  // namespace hypenet::kernels::cuda
