// A row's context is cut into splits, and blocks take the splits of all rows in turn; warps go
// through tiles of keys on their own, and a second kernel joins the splits. What is computed does
// not depend on other rows.
#include <algorithm>

#include "kernels/cuda/attention_step.cuh"
#include "kernels/cuda/attention_step_items.cuh"
#include "kernels/cuda/pack.cuh"

namespace hypenet::kernels::cuda {
namespace {

using attention::exp2_fast;
using attention::Item;
using attention::Items;
using attention::kHeads;
using attention::kSplitTokens;
using attention::kSplitUnit;
using attention::kWarps;
using attention::Layout;
using attention::Softmax;
using attention::Splits;
using attention::Tiles;
using Element = __nv_bfloat16;

constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksAProcessor = 2;
constexpr int kJoinThreads = 256;
constexpr float kLog2E = 1.4426950408889634F;

constexpr int kResultPad = 8;  // floats a row, so that eight rows of one column meet eight banks

/// What a block shares beside its tiles, which come first.
template <int d>
struct Shared {
  uint4 queries[kHeads * d / 8];  // bfloat16, swizzled rows
  float key[d], value[d];         // of the row's own token, as the cache holds them
  float scores[kHeads];           // its
  float largest[kWarps][kHeads], sums[kWarps][kHeads];
};

/// Tiles of a warp in shared memory.
template <int d, int kStages>
constexpr int kWarpBytes = kStages* Layout<d>::kStageBytes;

template <int d, int kStages>
constexpr int kBlockBytes = kWarps* kWarpBytes<d, kStages> + int{sizeof(Shared<d>)};

/// Of a vector: elements lane + 32 j and d / 2 + lane + 32 j.
template <int d>
struct Halves {
  float low[d / 64], high[d / 64];
};

/// One warp: vector number `index` of x, normed and rotated by the row's angles. What it needs is
/// asked for before the first of it is used.
template <int d>
__device__ Halves<d> ready_vector(const void* x, int64_t index, const void* weight, int row,
                                  const AttentionStepParams& p) {
  constexpr int kPairs = d / 64, kHalf = d / 2;
  const int lane = threadIdx.x % 32;
  const Element* const from = static_cast<const Element*>(x) + index * d;
  const int64_t angles = row * int64_t{kHalf};
  Halves<d> y;
  float cos[kPairs], sin[kPairs], weight_low[kPairs][1], weight_high[kPairs][1];
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int i = lane + 32 * j;
    y.low[j] = static_cast<float>(__ldcg(from + i));  // as load_pack
    y.high[j] = static_cast<float>(__ldcg(from + i + kHalf));
    cos[j] = p.cos != nullptr ? p.cos[angles + i] : 1;
    sin[j] = p.cos != nullptr ? p.sin[angles + i] : 0;
    weight_low[j][0] = weight_high[j][0] = 1;
    if (weight == nullptr) continue;
    load_floats(weight, p.weight_type, i, weight_low[j]);
    load_floats(weight, p.weight_type, i + kHalf, weight_high[j]);
  }
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) squares += y.low[j] * y.low[j] + y.high[j] * y.high[j];
  squares = lanes_sum(squares, 32);
  const float inverse = weight != nullptr ? rsqrtf(squares / d + p.eps) : 1;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const float low = y.low[j] * inverse * weight_low[j][0];
    const float high = y.high[j] * inverse * weight_high[j][0];
    y.low[j] = low * cos[j] - high * sin[j];
    y.high[j] = high * cos[j] + low * sin[j];
  }
  return y;
}

template <int d>
__device__ __forceinline__ Element* query_element(Shared<d>& shared, int head, int i) {
  unsigned char* const queries = reinterpret_cast<unsigned char*>(shared.queries);
  return reinterpret_cast<Element*>(queries + swizzled<2 * d>(head, i / 8)) + i % 8;
}

/// Puts the group's queries into shared memory, zeros below them.
template <int d>
__device__ void ready_queries(const AttentionStepParams& p, int group, int row, Shared<d>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first = row * p.heads + blockIdx.x * group;
  const float scale = p.query_scale != nullptr ? p.query_scale[row] : 1;
  for (int head = warp; head < group; head += kWarps) {
    const Halves<d> q = ready_vector<d>(p.q, first + head, p.q_weight, row, p);
    const auto put = [&](int i, float x) {
      *query_element<d>(shared, head, i) = __float2bfloat16_rn(x);
    };
#pragma unroll
    for (int j = 0; j < d / 64; ++j) {
      put(lane + 32 * j, scale * q.low[j]);
      put(lane + 32 * j + d / 2, scale * q.high[j]);
    }
  }
  for (int i = group * (d / 8) + threadIdx.x; i < kHeads * (d / 8); i += kThreads) {
    shared.queries[i] = make_uint4(0, 0, 0, 0);
  }
}

/// Puts the row's own key and value into its page and into shared memory; a warp each.
template <int d>
__device__ void ready_token(const AttentionStepParams& p, const int32_t* table, const Item& item,
                            Shared<d>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (warp < kWarps - 2) return;
  const auto page_tokens = static_cast<unsigned>(p.pages.page_tokens);
  const unsigned token = item.position;
  const int64_t place = table[token / page_tokens] * p.pages.page_tokens + token % page_tokens;
  const int64_t to = (place * p.pages.heads + blockIdx.x) * d;
  const int64_t from = item.row * p.pages.heads + blockIdx.x;
  if (warp == kWarps - 2) {
    const Halves<d> k = ready_vector<d>(p.k, from, p.k_weight, item.row, p);
    const auto put = [&](int i, float x) {
      const Element rounded = __float2bfloat16_rn(x);
      static_cast<Element*>(p.pages.keys)[to + i] = rounded;
      shared.key[i] = static_cast<float>(rounded);
    };
#pragma unroll
    for (int j = 0; j < d / 64; ++j) {
      put(lane + 32 * j, k.low[j]);
      put(lane + 32 * j + d / 2, k.high[j]);
    }
  } else if (lane < d / 8) {
    const auto v = load_pack<Element, 8>(p.v, from * (d / 8) + lane);
    store_pack(p.pages.values, to / 8 + lane, v);
    float x[8];
    unpack(v, x);
    store_floats(shared.value, lane, x);
  }
}

/// The scores of the row's own token, in units of log 2; queries and key are in shared memory.
template <int d>
__device__ void score_token(int group, float scale, Shared<d>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int head = warp; head < group; head += kWarps) {
    float sum = 0;
#pragma unroll
    for (int i = lane; i < d; i += 32) {
      sum += static_cast<float>(*query_element<d>(shared, head, i)) * shared.key[i];
    }
    sum = lanes_sum(sum, 32);
    if (lane == 0) shared.scores[head] = sum * scale;
  }
}

/// Leaves the warp's result in shared memory.
template <int d>
__device__ void put_result(const Softmax<d>& softmax, int group, float* results,
                           Shared<d>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = lanes_sum(softmax.sum[half], 4);
    const int head = lane / 4 + 8 * half;
    if (head >= group) continue;
    if (lane % 4 == 0) {
      shared.largest[warp][head] = softmax.largest[half];
      shared.sums[warp][head] = sum;
    }
    float* const row = results + (warp * kHeads + head) * (d + kResultPad) + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < d / 8; ++j) {
      *reinterpret_cast<float2*>(row + 8 * j) =
          make_float2(softmax.o[j][2 * half], softmax.o[j][2 * half + 1]);
    }
  }
}

__device__ __forceinline__ void add_scaled(float4& sum, float factor, float4 x) {
  sum.x += factor * x.x, sum.y += factor * x.y, sum.z += factor * x.z, sum.w += factor * x.w;
}

/// Joins the warps' results, in order, the row's own token first, and writes the split's: of each
/// head `largest`, the sum of the weights under it, and the weighted values.
template <int d>
__device__ void join_warps(const AttentionStepParams& p, int group, const Item& item, int places,
                           bool has_token, const float* results, const Shared<d>& shared) {
  constexpr int kQuads = d / 4;
  const int64_t first = item.row * p.heads + blockIdx.x * group;
  float2* const sums = reinterpret_cast<float2*>(p.parts + p.rows * p.heads * places * d);
  for (int i = threadIdx.x; i < group * kQuads; i += kThreads) {
    const int head = i / kQuads, column = i % kQuads * 4;
    float largest = has_token ? shared.scores[head] : -INFINITY;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, shared.largest[w][head]);
    float sum = 0;
    float4 o = make_float4(0, 0, 0, 0);
    if (has_token) {
      sum = exp2_fast(shared.scores[head] - largest);
      add_scaled(o, sum, *reinterpret_cast<const float4*>(shared.value + column));
    }
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = exp2_fast(shared.largest[w][head] - largest);
      const float* const row = results + (w * kHeads + head) * (d + kResultPad);
      sum += factor * shared.sums[w][head];
      add_scaled(o, factor, *reinterpret_cast<const float4*>(row + column));
    }
    const int64_t part = (first + head) * places + item.split;
    *reinterpret_cast<float4*>(p.parts + part * d + column) = o;
    if (column == 0) sums[part] = make_float2(largest, sum);
  }
}

/// An item and the pages of its first tiles. (The row's own token is at its position; the ones
/// before it are in the cache.)
template <int d, int kStages>
struct Place {
  __device__ bool find(Items& items, int index, const AttentionStepParams& p, int most_splits) {
    if (!items.find(index, item)) return false;
    const Splits splits(item.position, most_splits);
    has_token = item.split == splits.count - 1;
    begin = item.split * splits.length;
    end = has_token ? item.position : begin + splits.length;
    const Tiles<d> found = tiles(p);
#pragma unroll
    for (int i = 0; i < kStages; ++i) pages[i] = found.page(i);
    return true;
  }

  __device__ Tiles<d> tiles(const AttentionStepParams& p) const {
    return Tiles<d>(p, p.page_table + item.slot * p.table_width, begin, end);
  }

  Item item;
  bool has_token;  // of the row itself: its last split
  int begin, end;  // tokens in the cache
  int pages[kStages];
};

/// Softmax over the tiles of one warp; the first kStages - 1 are asked for, and `page` is that of
/// the next.
template <int d, int kStages>
__device__ void take_tiles(const Tiles<d>& tiles, int page, uint32_t stages,
                           const uint32_t (&q)[d / 16][4], Softmax<d>& softmax) {
  using L = Layout<d>;
  const float scale = kLog2E * rsqrtf(static_cast<float>(d));
  const int count = tiles.count();
  int stage = 0, next_stage = kStages - 1;
  for (int i = 0; i < count; ++i) {
    wait_copies<kStages - 2>();
    __syncwarp();  // this tile is there for all lanes, and all are done with the one before it
    if (i + kStages - 1 < count) {
      tiles.copy(i + kStages - 1, page, stages + next_stage * L::kStageBytes);
      page = tiles.page(i + kStages);
    }
    commit_copies();
    const uint32_t keys = stages + stage * L::kStageBytes;
    float s[L::kKeys / 8][4] = {};
    softmax.score(q, keys, tiles.tokens(i), s);
    softmax.weigh(scale, s);
    softmax.gather(s, keys + L::kTileBytes);
    stage = stage + 1 < kStages ? stage + 1 : 0;
    next_stage = next_stage + 1 < kStages ? next_stage + 1 : 0;
  }
  wait_copies<0>();
}

/// Block (key head, number): the items number, number + gridDim.y, ..
template <int d, int kStages>
__global__ void __launch_bounds__(kThreads, kBlocksAProcessor)
    split_kernel(AttentionStepParams p, int most_splits, int places, bool is_settled) {
  using L = Layout<d>;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<d>& shared = *reinterpret_cast<Shared<d>*>(memory + kWarps * kWarpBytes<d, kStages>);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int group = static_cast<int>(p.heads / p.pages.heads);
  const uint32_t stages = shared_address(memory + warp * kWarpBytes<d, kStages>);

  if (!is_settled) wait_for_earlier_kernels();
  let_next_kernel_start();
  bool waits = is_settled;
  Items items(p, most_splits);
  Place<d, kStages> place;
  bool is_item = place.find(items, blockIdx.y, p, most_splits);
  for (int index = blockIdx.y; is_item;) {
    const Item item = place.item;
    const Tiles<d> tiles = place.tiles(p);
    const bool has_token = place.has_token;
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) {
      if (i < tiles.count()) tiles.copy(i, place.pages[i], stages + i * L::kStageBytes);
      commit_copies();
    }
    const int page = place.pages[kStages - 1];
    index += gridDim.y;
    is_item = place.find(items, index, p, most_splits);  // the next one, while the tiles come
    if (waits) wait_for_earlier_kernels();
    waits = false;

    if (has_token) ready_token<d>(p, tiles.table, item, shared);
    ready_queries<d>(p, group, item.row, shared);
    __syncthreads();
    if (has_token) score_token<d>(group, kLog2E * rsqrtf(static_cast<float>(d)), shared);
    uint32_t q[d / 16][4];
#pragma unroll
    for (int step = 0; step < d / 16; ++step) {
      load_matrices(q[step], shared_address(shared.queries) +
                                 swizzled<L::kRowBytes>(lane % 16, 2 * step + lane / 16));
    }
    Softmax<d> softmax;
    take_tiles<d, kStages>(tiles, page, stages, q, softmax);
    __syncthreads();  // the results go where the tiles were
    static_assert(kWarps * kHeads * (d + kResultPad) * 4 <= kWarps * kWarpBytes<d, kStages>,
                  "the results do not fit");
    float* const results = reinterpret_cast<float*>(memory);
    put_result<d>(softmax, group, results, shared);
    __syncthreads();
    join_warps<d>(p, group, item, places, has_token, results, shared);
    __syncthreads();  // the next item's tiles go where the results are
  }
  // No kernel may end before the one ahead of it: later ones wait for their neighbour alone.
  if (waits) wait_for_earlier_kernels();
}

/// Block (head, row). Teams of threads take every kTeams-th split each.
template <int d>
__global__ void __launch_bounds__(kJoinThreads)
    join_kernel(AttentionStepParams p, int most_splits, int places) {
  constexpr int kTeam = d / 4, kTeams = kJoinThreads / kTeam;
  __shared__ float4 totals[kTeams][kTeam];
  const int lane = threadIdx.x % 32, column = threadIdx.x % kTeam, team = threadIdx.x / kTeam;
  const int64_t head = blockIdx.y * p.heads + blockIdx.x;

  wait_for_earlier_kernels();
  let_next_kernel_start();
  if (p.slots[blockIdx.y] < 0) {
    if (team == 0) store_pack(p.o, head * kTeam + column, Pack<Element, 4>{});
    return;
  }
  const int count = Splits(p.positions[blockIdx.y], most_splits).count;
  const float4* const parts = reinterpret_cast<const float4*>(p.parts) + head * places * kTeam;
  const float2* const sums =
      reinterpret_cast<const float2*>(p.parts + p.rows * p.heads * places * d) + head * places;
  float largest = -INFINITY, sum = 0;
  for (int s = lane; s < count; s += 32) largest = fmaxf(largest, __ldcg(sums + s).x);
  for (int offset = 16; offset > 0; offset /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(~0U, largest, offset));
  }
  for (int s = lane; s < count; s += 32) {
    const float2 part = __ldcg(sums + s);
    sum += exp2_fast(part.x - largest) * part.y;
  }
  sum = lanes_sum(sum, 32);

  float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 4
  for (int s = team; s < count; s += kTeams) {
    add_scaled(total, exp2_fast(__ldcg(sums + s).x - largest), __ldcg(parts + s * kTeam + column));
  }
  totals[team][column] = total;
  __syncthreads();
  if (team > 0) return;
#pragma unroll
  for (int t = 1; t < kTeams; ++t) add_scaled(total, 1, totals[t][column]);
  const float inverse = 1 / sum;
  float y[4] = {total.x * inverse, total.y * inverse, total.z * inverse, total.w * inverse};
  if (p.gate != nullptr) {
    float gate[4];
    unpack(load_pack<Element, 4>(p.gate, head * kTeam + column), gate);
#pragma unroll
    for (int i = 0; i < 4; ++i) y[i] *= sigmoid(gate[i]);
  }
  store_pack(p.o, head * kTeam + column, pack_of<Element>(y));
}

/// Of the current device.
int attribute(cudaDeviceAttr name) {
  int device = 0, value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, name, device);
  return value;
}

/// Splits of a row at most: what the device holds at once, shared by the key heads.
int64_t most_splits(const AttentionStepParams& p) {
  const int64_t processors = attribute(cudaDevAttrMultiProcessorCount);
  return std::max<int64_t>(1, kBlocksAProcessor * processors / p.pages.heads);
}

/// Of these, the most that the longest possible context has.
int64_t split_places(const AttentionStepParams& p) {
  const int64_t tokens = p.table_width * p.pages.page_tokens;
  return std::max<int64_t>(1, std::min(most_splits(p), (tokens + kSplitTokens - 1) / kSplitTokens));
}

/// As many as the device holds at once. A row that has the most splits gives each of them one; a
/// block for every split that there might be would mostly find nothing to do.
int64_t blocks_of_key_head(const AttentionStepParams& p) {
  return std::min(most_splits(p), p.rows * split_places(p));
}

template <int d, int kStages>
Status launch(const AttentionStepParams& p, Stream stream) {
  constexpr int kBytes = kBlockBytes<d, kStages>;
  const auto kernel = split_kernel<d, kStages>;
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return status_of(error);
  const int most = static_cast<int>(most_splits(p)), places = static_cast<int>(split_places(p));
  const auto rows = static_cast<unsigned>(p.rows), heads = static_cast<unsigned>(p.heads);
  const dim3 blocks(static_cast<unsigned>(p.pages.heads),
                    static_cast<unsigned>(blocks_of_key_head(p)));
  const Status status = launch_early(kernel, blocks, dim3(kThreads), size_t{kBytes}, stream, p,
                                     most, places, stream.is_settled);
  if (!status.ok()) return status;
  return launch_early(join_kernel<d>, dim3(heads, rows), dim3(kJoinThreads), stream, p, most,
                      places);
}

/// As many tiles under way as the device has memory for: 96 KB a block, or 64 KB.
template <int d>
Status launch_size(const AttentionStepParams& p, Stream stream) {
  const bool has_room = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) >= kBlockBytes<d, 3>;
  return has_room ? launch<d, 3>(p, stream) : launch<d, 2>(p, stream);
}

}  // namespace

int64_t attention_step_floats(const AttentionStepParams& params) {
  // The weighted values, then of each (largest, sum).
  return params.rows * params.heads * split_places(params) * (params.pages.size + 2);
}

Status attention_step(const AttentionStepParams& params, Stream stream) {
  const KvPageParams& pages = params.pages;
  if (pages.type != DType::kBFloat16) return {"pages that are not bfloat16"};
  if (pages.size != 64 && pages.size != 128) return {"a head size that is not 64 or 128"};
  if (params.rows > 65535) return {"more than 65535 rows"};
  if (params.heads > pages.heads * kHeads) return {"more than 16 query heads a key head"};
  if (pages.page_tokens % kSplitUnit != 0) return {"pages that are not whole 64 tokens"};
  if (params.rows == 0) return {};
  return pages.size == 128 ? launch_size<128>(params, stream) : launch_size<64>(params, stream);
}

}  // namespace hypenet::kernels::cuda
