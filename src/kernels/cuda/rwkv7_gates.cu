// Backwards the heads of one key head meet in shared memory: theirs is one gradient.
#include "kernels/cuda/head_rows.cuh"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/rwkv7_gates.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr float kMostDecay = 0.6065306597126334F;  // e^-0.5

/// What a thread keeps for all its rows.
template <class Layout>
struct Parameters {
  float w0[Layout::kWidth] = {}, a0[Layout::kWidth] = {};
  float k_k[Layout::kWidth] = {}, k_a[Layout::kWidth] = {};

  __device__ Parameters(const Rwkv7GatesParams& p, const HeadPlace& place) {
    if (!place.is_used) return;
    const int64_t index = place.head * Layout::kTeam + place.lane;
    load_parameters(p.w0, index, w0), load_parameters(p.a0, index, a0);
    if (p.k_k == nullptr) return;
    load_parameters(p.k_k, index, k_k), load_parameters(p.k_a, index, k_a);
  }
};

template <class Layout>
struct Packs {
  using T = typename Layout::Element;
  Pack<T, Layout::kWidth> k, z_decay, z_rate;

  __device__ Packs(const Rwkv7GatesParams& p, const HeadPlace& place, int64_t key_head,
                   int64_t row) {
    if (!place.is_used || row >= p.rows) return;
    const int64_t index = (row * p.heads + place.head) * Layout::kTeam + place.lane;
    z_decay = load_pack<T, Layout::kWidth>(p.z_decay, index);
    z_rate = load_pack<T, Layout::kWidth>(p.z_rate, index);
    k = load_pack<T, Layout::kWidth>(p.k,
                                     (row * p.key_heads + key_head) * Layout::kTeam + place.lane);
  }
};

/// gate: sigmoid(z_decay + w0).
template <class Layout, bool kBalances>
struct Gates {
  float k[Layout::kWidth], gate[Layout::kWidth], rate[Layout::kWidth], kappa[Layout::kWidth];
  float inverse;  // 1 / the length of k .* k_k

  __device__ Gates(const Packs<Layout>& packs, const Parameters<Layout>& own, float eps) {
    unpack(packs.k, k), unpack(packs.z_decay, gate), unpack(packs.z_rate, rate);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) {
      gate[i] = sigmoid(gate[i] + own.w0[i]), rate[i] = sigmoid(rate[i] + own.a0[i]);
      kappa[i] = kBalances ? k[i] : k[i] * own.k_k[i];
      squares += kappa[i] * kappa[i];
    }
    inverse = rsqrtf(Layout::sum(squares) + eps);
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) kappa[i] *= inverse;
  }

  /// What multiplies k.
  __device__ float factor(const Parameters<Layout>& own, int i) const {
    return kBalances ? 1 - __expf(-kMostDecay * gate[i]) + rate[i] : 1 + (rate[i] - 1) * own.k_a[i];
  }
};

template <class Layout, bool kBalances>
__global__ void __launch_bounds__(kHeadRowThreads, 2)
    forward_kernel(Rwkv7GatesParams p, int heads, int rows) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth;
  const HeadPlace place(heads, rows, Layout::kTeam, p.heads);
  const int64_t key_head = place.head / (p.heads / p.key_heads);
  const Parameters<Layout> own(p, place);
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows;
  int64_t row = static_cast<int64_t>(blockIdx.x) * rows + place.row;
  Packs<Layout> next(p, place, key_head, row);
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows; start < p.rows;
       start += step, row += step) {
    const Packs<Layout> packs = next;
    next = Packs<Layout>(p, place, key_head, row + step);
    const Gates<Layout, kBalances> at(packs, own, p.eps);
    if (!place.is_used || row >= p.rows) continue;
    const int64_t index = (row * p.heads + place.head) * Layout::kTeam + place.lane;
    float key[kWidth], a[kWidth], b[kWidth], decay[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      key[i] = at.k[i] * at.factor(own, i);
      a[i] = -at.kappa[i], b[i] = at.kappa[i] * at.rate[i];
      decay[i] = kMostDecay * at.gate[i];
    }
    store_pack(p.key, index, pack_of<T>(key));
    store_pack(p.a, index, pack_of<T>(a));
    store_pack(p.b, index, pack_of<T>(b));
    store_floats(p.decay, index, decay);
  }
}

/// The gradients of a row of heads as they arrive.
template <class Layout>
struct Given {
  using T = typename Layout::Element;
  Pack<T, Layout::kWidth> key, a, b;
  float decay[Layout::kWidth] = {};

  __device__ Given(const Rwkv7GatesBackwardParams& p, int64_t index, bool is_used) {
    if (!is_used) return;
    key = load_pack<T, Layout::kWidth>(p.dkey, index);
    a = load_pack<T, Layout::kWidth>(p.da, index);
    b = load_pack<T, Layout::kWidth>(p.db, index);
    load_parameters(p.ddecay, index, decay);
  }
};

/// The sum of x over a group's heads, for its first head; `shared` [heads of a block's rows, d].
/// All threads of the block call it.
template <class Layout>
__device__ __forceinline__ void sum_group(float (&x)[Layout::kWidth], int group, bool is_first,
                                          float* shared) {
  if (group == 1) return;
  float4* const own = reinterpret_cast<float4*>(shared + threadIdx.x * Layout::kWidth);
#pragma unroll
  for (int i = 0; i < Layout::kWidth / 4; ++i) {
    own[i] = make_float4(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
  }
  __syncthreads();
  if (!is_first) return;
  for (int other = 1; other < group; ++other) {
    const float* const from = shared + (threadIdx.x + other * Layout::kTeam) * Layout::kWidth;
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) x[i] += from[i];
  }
}

template <class Layout, bool kBalances>
__global__ void __launch_bounds__(kHeadRowThreads, 2)
    backward_kernel(Rwkv7GatesBackwardParams p, int heads, int rows) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth;
  extern __shared__ float shared[];
  const Rwkv7GatesParams& f = p.forward;
  const HeadPlace place(heads, rows, Layout::kTeam, f.heads);
  const int group = static_cast<int>(f.heads / f.key_heads);
  const int64_t key_head = place.head / group;
  const bool is_first = place.head % group == 0;
  const Parameters<Layout> own(f, place);
  float dw0[kWidth] = {}, da0[kWidth] = {}, dk_k[kWidth] = {}, dk_a[kWidth] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows;
  int turn = 0;  // of two places in shared memory
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows; start < f.rows;
       start += step, turn ^= 1) {
    const int64_t row = start + place.row;
    const bool is_used = place.is_used && row < f.rows;
    const int64_t index = (row * f.heads + place.head) * Layout::kTeam + place.lane;
    const Packs<Layout> packs(f, place, key_head, row);
    const Given<Layout> given(p, index, is_used);
    const Gates<Layout, kBalances> at(packs, own, f.eps);
    float dkey[kWidth], dkappa[kWidth], db[kWidth], along = 0;
    unpack(given.key, dkey), unpack(given.a, dkappa), unpack(given.b, db);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      dkappa[i] = at.rate[i] * db[i] - dkappa[i];
      along += dkappa[i] * at.kappa[i];
    }
    along = Layout::sum(along);
    float dk[kWidth], dz_decay[kWidth], dz_rate[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float of_unit = at.inverse * (dkappa[i] - at.kappa[i] * along);
      const float of_factor = dkey[i] * at.k[i];
      float ddecay = given.decay[i], drate = at.kappa[i] * db[i];
      dk[i] = dkey[i] * at.factor(own, i);
      if (kBalances) {
        ddecay += of_factor * __expf(-kMostDecay * at.gate[i]);
        drate += of_factor, dk[i] += of_unit;
      } else {
        drate += of_factor * own.k_a[i], dk[i] += of_unit * own.k_k[i];
        dk_a[i] += of_factor * (at.rate[i] - 1), dk_k[i] += of_unit * at.k[i];
      }
      dz_decay[i] = ddecay * kMostDecay * at.gate[i] * (1 - at.gate[i]);
      dz_rate[i] = drate * at.rate[i] * (1 - at.rate[i]);
      dw0[i] += dz_decay[i], da0[i] += dz_rate[i];
    }
    if (is_used) {
      store_pack(p.dz_decay, index, pack_of<T>(dz_decay));
      store_pack(p.dz_rate, index, pack_of<T>(dz_rate));
    }
    sum_group<Layout>(dk, group, is_first, shared + turn * blockDim.x * kWidth);
    if (!is_used || !is_first) continue;
    store_pack(p.dk, (row * f.key_heads + key_head) * Layout::kTeam + place.lane, pack_of<T>(dk));
  }
  const int64_t size = p.part_count * f.heads * Layout::d;
  const auto write = [&](const float(&sums)[kWidth], int which, const float* wanted) {
    write_head_part(sums, place, rows, f.heads, Layout::d, shared,
                    wanted != nullptr ? p.parts + which * size : nullptr);
  };
  write(dw0, 0, p.dw0), write(da0, 1, p.da0), write(dk_k, 2, p.dk_k), write(dk_a, 3, p.dk_a);
}

constexpr int kForwardBytes = 16,
              kBackwardBytes = 8;  // that a lane reads of bfloat16 rows

/// Calls call(HeadRows, std::bool_constant<balances>).
template <int kBytes, class Call>
auto with_kernel(const Rwkv7GatesParams& p, const Call& call) {
  return with_head_rows<kBytes>(p.type, p.size, [&](auto layout) {
    return p.k_k == nullptr ? call(layout, std::true_type{}) : call(layout, std::false_type{});
  });
}

/// Two places for what the threads of a block hand to each other.
template <class Layout>
constexpr size_t kShared = sizeof(float) * 2 * Layout::kWidth* kHeadRowThreads;

template <class Layout, bool kBalances>
HeadGrid backward_grid(const Rwkv7GatesParams& p) {
  return head_grid<Layout>(backward_kernel<Layout, kBalances>, p.rows, p.heads,
                           p.heads / p.key_heads, kShared<Layout>);
}

Status check(const Rwkv7GatesParams& p) {
  if (p.size != 64 && p.size != 128) return {"a head size that is not 64 or 128"};
  if (p.key_heads < 1 || p.heads % p.key_heads != 0) return {"heads that key heads do not divide"};
  if (p.heads / p.key_heads * p.size <= kMostGatesGroup) return {};
  return {"more than 1024 numbers of the heads of a key head"};
}

}  // namespace

Status rwkv7_gates(const Rwkv7GatesParams& params, Stream stream) {
  const Status status = check(params);
  if (!status.ok() || params.rows == 0) return status;
  return with_kernel<kForwardBytes>(params, [&](auto layout, auto balances) {
    using Layout = decltype(layout);
    const auto kernel = forward_kernel<Layout, balances.value>;
    const HeadGrid grid = head_grid<Layout>(kernel, params.rows, params.heads, 1, 0);
    kernel<<<grid.blocks, grid.threads, 0, cuda_stream(stream)>>>(params, grid.heads, grid.rows);
    return launch_status();
  });
}

int64_t rwkv7_gates_parts(const Rwkv7GatesParams& params) {
  return with_kernel<kBackwardBytes>(params, [&](auto layout, auto balances) -> int64_t {
    return backward_grid<decltype(layout), balances.value>(params).blocks.x;
  });
}

Status rwkv7_gates_backward(const Rwkv7GatesBackwardParams& params, Stream stream) {
  const Rwkv7GatesParams& forward = params.forward;
  Status status = check(forward);
  if (!status.ok()) return status;
  status = with_kernel<kBackwardBytes>(forward, [&](auto layout, auto balances) {
    using Layout = decltype(layout);
    const HeadGrid grid = backward_grid<Layout, balances.value>(forward);
    backward_kernel<Layout, balances.value>
        <<<grid.blocks, grid.threads, kShared<Layout>, cuda_stream(stream)>>>(params, grid.heads,
                                                                              grid.rows);
    return launch_status();
  });
  float* const outs[] = {params.dw0, params.da0, params.dk_k, params.dk_a};
  const int64_t size = forward.heads * forward.size;
  for (int i = 0; i < 4 && status.ok(); ++i) {
    if (outs[i] == nullptr) continue;
    status = sum_parts({params.parts + i * params.part_count * size, outs[i], params.part_count,
                        size, DType::kFloat32},
                       stream);
  }
  return status;
}

}  // namespace hypenet::kernels::cuda
