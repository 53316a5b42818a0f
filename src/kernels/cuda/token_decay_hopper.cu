// The passes with a decay per token on Hopper: lightning's round of products (lightning_hopper.cu)
// with factors that each chunk's decays make, and the states that segments leave for the next.
#include "kernels/cuda/token_decay_products.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// Shared memory of a block, from a multiple of 1024. kTensors: tiles of a chunk.
template <int kSize, int kTensors, int kStages_, bool kHasProducer_>
struct Geometry {
  static constexpr int kStages = kStages_;
  static constexpr int kThreads = 128 * kGroups<kSize>;  // of products
  // A warpgroup of its own loads, makes factors and adds up, or the others do so on the way.
  static constexpr bool kHasProducer = kHasProducer_;
  static constexpr int kAllThreads = kThreads + (kHasProducer ? 128 : 0);
  // Chunks by which factors are made ahead.
  static constexpr int kAhead = kHasProducer ? 2 : 1;
  static constexpr int kDecaySlots = kStages + kAhead - 1, kFactorSlots = kAhead + 1;
  static constexpr int kTile = kGroups<kSize> * kPanel;
  static constexpr bool kHasOutput = kTensors > 2, kHasDots = kTensors > 3;
  // Used in turn where two warpgroups read them.
  static constexpr int kScorePanels = kGroups<kSize>;
  // A chunk's are written two rounds before they are read.
  static constexpr int kPairSets = kHasProducer ? 3 : 2;
  static constexpr int kPairs = (kGroups<kSize> + 4) * kChunk;  // numbers of a set
  static constexpr int kWarps = 4 * kGroups<kSize>;

  static constexpr int kScores = kStages * kTensors * kTile;
  static constexpr int kDecays = kScores + (kHasOutput ? kScorePanels * kPanel : 0);
  static constexpr int kFactors = kDecays + kDecaySlots * 2 * kChunk * 4;
  static constexpr int kPairsAt = kFactors + kFactorSlots * kFactorCount * 4;
  static constexpr int kDots = kPairsAt + (kHasDots ? kPairSets * kPairs * 4 : 0);
  static constexpr int kBytes = kDots + (kHasDots ? 2 * kWarps * kChunk * 4 : 0) + 1024;
};

template <int kSize, bool kBackward>
using PassGeometry =
    Geometry<kSize, kBackward ? 4 : 3, kSize == 128 && !kBackward ? 4 : 3, kSize == 128>;
template <int kSize>
using GatherGeometry = Geometry<kSize, 2, 3, false>;

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
  // Among those that load.
  int own = static_cast<int>(threadIdx.x) - (G::kHasProducer ? G::kThreads : 0);

  __device__ uint32_t tile(int chunk, int tensor) const {
    return base + (chunk % G::kStages * (G::kScores / G::kStages / G::kTile) + tensor) * G::kTile;
  }
  __device__ float* decays(int chunk) const {
    return reinterpret_cast<float*>(shared + G::kDecays) + chunk % G::kDecaySlots * (2 * kChunk);
  }
  __device__ float* factors(int chunk) const {
    return reinterpret_cast<float*>(shared + G::kFactors) + chunk % G::kFactorSlots * kFactorCount;
  }
  __device__ char* scores(int chunk) const {
    return shared + G::kScores + chunk % G::kScorePanels * kPanel;
  }
  __device__ PairSums pairs(int chunk) const {
    float* const set =
        reinterpret_cast<float*>(shared + G::kPairsAt) + chunk % G::kPairSets * G::kPairs;
    return {set, set + kGroups<kSize> * kChunk};
  }
  __device__ float* dots(int chunk) const {
    return reinterpret_cast<float*>(shared + G::kDots) + chunk % 2 * G::kWarps * kChunk;
  }

  /// Asks for a chunk, and for the decays that factors are made of when it is there.
  __device__ void load(int chunk) const {
    const Loader<kSize, G::kHasProducer ? 128 : G::kThreads> loader(own);
    const bool is_wanted = chunk < walk.end;
    if (is_wanted) {
      if constexpr (G::kHasOutput) loader.load(tile(chunk, 0), pass.q, walk, chunk);
      loader.load(tile(chunk, G::kHasOutput ? 1 : 0), pass.k, walk, chunk);
      load_decays_of(chunk + G::kAhead);
    }
    if constexpr (G::kHasOutput) commit_copies();  // scores are made before the rest is read
    if (is_wanted) {
      loader.load(tile(chunk, G::kHasOutput ? 2 : 1), pass.v, walk, chunk);
      if constexpr (G::kHasDots) loader.load(tile(chunk, 3), pass.r, walk, chunk);
    }
    commit_copies();
  }
  /// Until what the scores of the newest chunk but `kChunks` are made of is there, and all of those
  /// before it. With kAll scores are made of all its tiles.
  template <int kChunks, bool kAll>
  __device__ void wait_for_copies() const {
    wait_copies<2 * kChunks + (kAll ? 0 : 1)>();
    publish_shared();
  }
  __device__ void load_decays_of(int chunk) const {
    if (chunk < walk.end) load_decays(decays(chunk), p, walk, chunk, own);
  }
  /// The first chunks.
  __device__ void start_loading() const {
    for (int i = 0; i < G::kAhead; ++i) load_decays_of(walk.first + i);
    for (int i = 0; i < G::kStages - 1; ++i) load(walk.first + i);
  }
  __device__ void make_factors_of(int chunk) const {
    if (own < 32) make_factors(factors(chunk), decays(chunk), p, pass);
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
__device__ __forceinline__ void store_rows(const Pass& pass, const Walk& walk, int chunk,
                                           const char* panel, int group) {
  const int row = threadIdx.x % 128 / 8, piece = threadIdx.x % 8;
  const int position = chunk * kChunk + row;
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
__device__ __forceinline__ void store_dots(const Block<kSize, G>& block, int chunk) {
  const int token = block.own - kChunk;  // the first warp makes factors
  if (token < 0 || token >= kChunk || block.pass.dots == nullptr) return;
  const int position = chunk * kChunk + token;
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
__device__ __forceinline__ void mark_state(const Block<kSize, G>& block, int chunk,
                                           const uint32_t (&rounded)[kSize / 16][4]) {
  if (block.pass.marks == nullptr) return;
  const int chunks = block.walk.chunks;
  const int behind = kKind == PassKind::kKeys ? chunks - chunk : chunk;  // chunks, in time
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

/// What must be done beside the products of a chunk: others are asked for, factors made, and what
/// the warps have left of the chunk before is added up.
template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void serve(const Block<kSize, G>& block, int chunk) {
  block.load(chunk + G::kStages - 1);
  block.make_factors_of(chunk + G::kAhead);
  if constexpr (G::kHasDots) {
    if (chunk > block.walk.first) store_dots<kSize, kKind>(block, chunk - 1);
  }
}

/// All chunks, by a warpgroup that has nothing else to do. It meets the others as often as they
/// meet each other.
template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void produce(const Block<kSize, G>& block) {
  constexpr bool kAll = kKind == PassKind::kQueries;
  block.start_loading();
  block.template wait_for_copies<G::kStages - 2, kAll>();
  asm volatile("bar.sync 4, 128;" ::: "memory");
  for (int i = 0; i < G::kAhead; ++i) block.make_factors_of(block.walk.first + i);
  __syncthreads();
  for (int chunk = block.walk.first; chunk < block.walk.end; ++chunk) {
    block.template wait_for_copies<G::kStages - 3, kAll>();
    __syncthreads();
    serve<kSize, kKind>(block, chunk);
  }
  if constexpr (G::kHasDots) {
    __syncthreads();
    store_dots<kSize, kKind>(block, block.walk.end - 1);
  }
}

template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void run(const Block<kSize, G>& block) {
  const PassParams& p = block.p;
  const Pass& pass = block.pass;
  const Walk& walk = block.walk;
  const int group = block.group;
  constexpr bool kHasMarks = kKind == PassKind::kQueries || kKind == PassKind::kKeys;
  const auto score = [&](int chunk, Scores<kSize>& sums, Scores<kSize>& products) {
    multiply_scores<kSize>(sums, block.tile(chunk, 0), block.tile(chunk, 1), group);
    if constexpr (kKind == PassKind::kQueries) {
      multiply_scores<kSize>(products, block.tile(chunk, 3), block.tile(chunk, 2), group);
    }
    commit_products();
  };
  if constexpr (!G::kHasProducer) block.start_loading();
  State<kSize> state = {};
  start_state<kSize>(state, p, pass, walk, group);
  Scores<kSize> scores, products;
  constexpr bool kAll = kKind == PassKind::kQueries;
  if constexpr (!G::kHasProducer) block.template wait_for_copies<G::kStages - 2, kAll>();
  __syncthreads();
  if constexpr (!G::kHasProducer) block.make_factors_of(walk.first);
  begin_products();
  score(walk.first, scores, products);
  wait_products<0>();
  pin(scores);
  if constexpr (kKind == PassKind::kQueries) pin(products);
  block.wait_for_group();
  write_scores<kSize, kKind>(scores, products, block.scores(walk.first), block.factors(walk.first),
                             p.scale, group, block.pairs(walk.first));
  for (int chunk = walk.first; chunk < walk.end; ++chunk) {
    // The chunk after this one too is needed, for its scores.
    if constexpr (!G::kHasProducer) block.template wait_for_copies<G::kStages - 3, kAll>();
    publish_shared();
    __syncthreads();
    const uint32_t values = block.tile(chunk, 2) + group * kPanel;
    uint32_t rounded[kSize / 16][4], faded[kChunk / 16][4];
    round_state<kSize>(rounded, state);
    prepare_update<kSize>(state, faded, values, block.factors(chunk));
    Output before, within;
    begin_products();
    read_state<kSize>(before, rounded, block.tile(chunk, 0));
    add_chunk(within, shared_address(block.scores(chunk)), values);
    commit_products();
    score(chunk + 1, scores, products);
    update_state<kSize>(state, faded, block.tile(chunk, 1));
    commit_products();
    // While they run.
    if constexpr (!G::kHasProducer) serve<kSize, kKind>(block, chunk);
    if constexpr (kHasMarks) mark_state<kSize, kKind>(block, chunk, rounded);
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
  if constexpr (G::kHasDots) {
    __syncthreads();
    if constexpr (!G::kHasProducer) store_dots<kSize, kKind>(block, walk.end - 1);
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

template <int kSize, PassKind kKind, class G>
__device__ __forceinline__ void run_or_produce(const Block<kSize, G>& block) {
  if constexpr (G::kHasProducer) {
    // Registers of 384 threads: 168 each, which the products do not come out with.
    if (threadIdx.x >= G::kThreads) {
      asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
      produce<kSize, kKind>(block);
      return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
  }
  run<kSize, kKind>(block);
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

template <int kSize, bool kBackward>
__global__ void __launch_bounds__(PassGeometry<kSize, kBackward>::kAllThreads, kSize == 64 ? 2 : 1)
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
    if (pass.kind == PassKind::kQueries) run_or_produce<kSize, PassKind::kQueries>(block);
    if (pass.kind == PassKind::kKeys) run_or_produce<kSize, PassKind::kKeys>(block);
    if (pass.kind == PassKind::kValues) run_or_produce<kSize, PassKind::kValues>(block);
  } else {
    run_or_produce<kSize, PassKind::kForward>(block);
  }
#else
  __trap();  // has_token_decay says sm_90 alone, so it was built without sm_90a
#endif
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// The chunk from which tokens of a segment are of use at its end: what is older has faded.
template <int kThreads>
__device__ int first_of_use(const PassParams& p, const Walk& walk) {
  __shared__ float sums[kThreads / 32];
  constexpr int kStep = 16;  // chunks
  int chunk = walk.end;
  float fade = 0;
  while (chunk > walk.first && fade > kForgotten) {
    const int begin = max(chunk - kStep, walk.first);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kStep * kChunk / kThreads; ++i) {
      const int position = begin * kChunk + i * kThreads + static_cast<int>(threadIdx.x);
      const float* const decay = decay_at(p, walk, position);
      if (position < chunk * kChunk && decay != nullptr) sum += *decay;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0U, sum, offset);
    __syncthreads();
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < kThreads / 32; ++warp) fade -= kLog2E * sums[warp];
    chunk = begin;
  }
  return chunk;
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

/// All segments but the last of each head, from a zero state.
template <int kSize>
__global__ void __launch_bounds__(GatherGeometry<kSize>::kThreads, kSize == 64 ? 4 : 2)
    gather_kernel(const __grid_constant__ PassParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = GatherGeometry<kSize>;
  extern __shared__ char unaligned[];
  const uint32_t base = (shared_address(unaligned) + 1023) / 1024 * 1024;
  const Pass& pass = p.passes[blockIdx.x % p.pass_count];
  Walk walk = walk_of(p, pass, blockIdx.x / p.pass_count);
  if (walk.first >= walk.end) return;
  walk.first = first_of_use<G::kThreads>(p, walk);
  const Block<kSize, G> block{p, pass, walk, unaligned + (base - shared_address(unaligned)), base};
  block.start_loading();
  State<kSize> state = {};
  float fade = 0;
  wait_copies<G::kStages - 2>();
  __syncthreads();
  block.make_factors_of(walk.first);
  for (int chunk = walk.first; chunk < walk.end; ++chunk) {
    wait_copies<G::kStages - 2>();
    publish_shared();
    __syncthreads();
    uint32_t faded[kChunk / 16][4];
    fade += block.factors(chunk)[kSum + kChunk - 1];
    prepare_update<kSize>(state, faded, block.tile(chunk, 1) + block.group * kPanel,
                          block.factors(chunk));
    begin_products();
    update_state<kSize>(state, faded, block.tile(chunk, 0));
    commit_products();
    block.load(chunk + G::kStages - 1);
    block.make_factors_of(chunk + 1);
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
  return launch(pass_kernel<kSize, kBackward>, params, params.segments, G::kAllThreads, G::kBytes,
                stream);
}

template <int kSize>
Status launch_gather(const PassParams& params, Stream stream) {
  using G = GatherGeometry<kSize>;
  return launch(gather_kernel<kSize>, params, params.segments - 1, G::kAllThreads, G::kBytes,
                stream);
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
