// A thread holds packs of both halves of a head, so that it rotates by itself; the lanes of a team
// share a head.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/resident.cuh"
#include "kernels/rope.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// Pack j of the lane at place `lane` of its team is pack lane + j * team of each half.
template <class Element_, int kWidth_, int kPacks_>
struct HalfLayout {
  using Element = Element_;
  static constexpr int kWidth = kWidth_, kPacks = kPacks_;

  static int team(int64_t size) {
    int lanes = 1;
    while (lanes * kPacks * kWidth < size / 2) lanes *= 2;
    return lanes;
  }
};

/// One half's kWidth values each of a and b.
template <int kWidth>
struct Halves {
  float a[kWidth], b[kWidth];
};

template <class Layout>
struct HalfPacks {
  Pack<typename Layout::Element, Layout::kWidth> a, b;
};

template <class Layout>
__device__ __forceinline__ HalfPacks<Layout> load_halves(const void* x, int64_t pack, int half) {
  using T = typename Layout::Element;
  return {load_pack<T, Layout::kWidth>(x, pack), load_pack<T, Layout::kWidth>(x, pack + half)};
}

template <class Layout>
__device__ __forceinline__ Halves<Layout::kWidth> unpacked(const HalfPacks<Layout>& packs) {
  Halves<Layout::kWidth> x;
  unpack(packs.a, x.a), unpack(packs.b, x.b);
  return x;
}

template <class Layout>
__device__ __forceinline__ void store_halves(void* y, int64_t pack, int half,
                                             const Halves<Layout::kWidth>& x) {
  using T = typename Layout::Element;
  store_pack(y, pack, pack_of<T>(x.a));
  store_pack(y, pack + half, pack_of<T>(x.b));
}

template <class Params, int kWidth>
__device__ __forceinline__ Halves<kWidth> load_weights(const Params& p, int index, int half) {
  Halves<kWidth> weight;
  load_floats(p.weight, p.weight_type, index, weight.a);
  load_floats(p.weight, p.weight_type, index + half, weight.b);
  return weight;
}

/// (a, b) -> (a cos - b sin, b cos + a sin), the angle times `direction`.
template <class Params, int kWidth>
__device__ __forceinline__ void rotate(Halves<kWidth>& x, const Params& p, int64_t pack,
                                       float direction) {
  float cos[kWidth], sin[kWidth];
  load_floats(p.cos, DType::kFloat32, pack, cos);
  load_floats(p.sin, DType::kFloat32, pack, sin);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const float a = x.a[i], b = x.b[i], s = direction * sin[i];
    x.a[i] = a * cos[i] - b * s;
    x.b[i] = b * cos[i] + a * s;
  }
}

/// Where a row's angles begin, in packs: row = token * heads + head. Rows are fewer than 2^31.
template <class Params>
__device__ __forceinline__ int64_t first_angle(const Params& p, int64_t row, int half) {
  const auto token = static_cast<unsigned>(row) / static_cast<unsigned>(p.heads);
  return static_cast<int64_t>(token % static_cast<unsigned>(p.positions)) * half;
}

template <class Layout, bool kNorm>
__global__ void __launch_bounds__(kThreads) forward_kernel(RopeParams p, int team) {
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  const int lane = threadIdx.x % team, half = static_cast<int>(p.size) / (2 * kWidth);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / team) + threadIdx.x / team;
  const int packs = row < p.tokens * p.heads ? half : 0;
  const int64_t first = row * 2 * half, angle = first_angle(p, row, half);
  HalfPacks<Layout> x[kPacks];
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int index = lane + j * team;
    if (index < packs) x[j] = load_halves<Layout>(p.x, first + index, half);
  }
  float inverse = 1;
  if (kNorm) {
    float squares = 0;
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const Halves<kWidth> values = unpacked(x[j]);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        squares += values.a[i] * values.a[i] + values.b[i] * values.b[i];
      }
    }
    inverse = rsqrtf(lanes_sum(squares, team) / static_cast<float>(p.size) + p.eps);
    if (p.inverse != nullptr && lane == 0 && packs > 0) p.inverse[row] = inverse;
  }
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int index = lane + j * team;
    if (index >= packs) continue;
    Halves<kWidth> values = unpacked(x[j]);
    if (kNorm) {
      const Halves<kWidth> weight = load_weights<RopeParams, kWidth>(p, index, half);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        values.a[i] *= inverse * weight.a[i];
        values.b[i] *= inverse * weight.b[i];
      }
    }
    rotate(values, p, angle + index, p.direction);
    store_halves<Layout>(p.y, first + index, half, values);
  }
}

/// Adds up what the teams of a block hold, in a fixed order, and writes the block's part.
template <class Layout>
__device__ void write_part(Halves<Layout::kWidth> (&dweight)[Layout::kPacks],
                           const NormRopeBackwardParams& p, int team, int half) {
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  __shared__ float shared[kMaxRopeSize];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      for (int offset = team; offset < 32; offset *= 2) {
        dweight[j].a[i] += __shfl_xor_sync(~0U, dweight[j].a[i], offset);
        dweight[j].b[i] += __shfl_xor_sync(~0U, dweight[j].b[i], offset);
      }
    }
  }
  for (int turn = 0; turn < kThreads / 32; ++turn) {
    if (turn == warp && lane < team) {
#pragma unroll
      for (int j = 0; j < kPacks; ++j) {
        const int index = lane + j * team;
        if (index >= half) continue;
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          float &a = shared[index * kWidth + i], &b = shared[(index + half) * kWidth + i];
          a = turn == 0 ? dweight[j].a[i] : a + dweight[j].a[i];
          b = turn == 0 ? dweight[j].b[i] : b + dweight[j].b[i];
        }
      }
    }
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < p.size; i += kThreads) {
    p.parts[blockIdx.x * p.size + i] = shared[i];
  }
}

/// The rotation back gives the norm's dy; then as in rms_norm_backward.cu.
template <class Layout>
__global__ void __launch_bounds__(kThreads) backward_kernel(NormRopeBackwardParams p, int team) {
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  const int lane = threadIdx.x % team, half = static_cast<int>(p.size) / (2 * kWidth);
  const int rows_of_block = kThreads / team;
  const int64_t rows = p.tokens * p.heads;
  Halves<kWidth> dweight[kPacks] = {}, weight[kPacks];
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int index = lane + j * team;
    weight[j] = {};
    if (index < half) {
      weight[j] = load_weights<NormRopeBackwardParams, kWidth>(p, index, half);
    }
  }

  // All threads of a block go round equally often: they sum together.
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows_of_block;
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows_of_block; start < rows;
       start += step) {
    const int64_t row = start + threadIdx.x / team;
    const int packs = row < rows ? half : 0;
    const int64_t first = row * 2 * half, angle = first_angle(p, row, half);
    HalfPacks<Layout> x[kPacks];
    Halves<kWidth> gradient[kPacks];
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const int index = lane + j * team;
      x[j] = {}, gradient[j] = {};
      if (index >= packs) continue;
      x[j] = load_halves<Layout>(p.x, first + index, half);
      gradient[j] = unpacked(load_halves<Layout>(p.dy, first + index, half));
      rotate(gradient[j], p, angle + index, -1);
    }
    const float inverse = row < rows ? p.inverse[row] : 0;
    float dot = 0;
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const Halves<kWidth> values = unpacked(x[j]);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float a = gradient[j].a[i] * values.a[i], b = gradient[j].b[i] * values.b[i];
        dot += a * weight[j].a[i] + b * weight[j].b[i];
        dweight[j].a[i] += a * inverse;
        dweight[j].b[i] += b * inverse;
      }
    }
    const float along = lanes_sum(dot, team) * inverse * inverse / static_cast<float>(p.size);
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const int index = lane + j * team;
      if (index >= packs) continue;
      Halves<kWidth> values = unpacked(x[j]);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        values.a[i] = inverse * (gradient[j].a[i] * weight[j].a[i] - along * values.a[i]);
        values.b[i] = inverse * (gradient[j].b[i] * weight[j].b[i] - along * values.b[i]);
      }
      store_halves<Layout>(p.dx, first + index, half, values);
    }
  }
  if (p.parts != nullptr) write_part<Layout>(dweight, p, team, half);
}

int64_t blocks_for(int64_t rows, int team) {
  const int64_t rows_of_block = kThreads / team;
  return (rows + rows_of_block - 1) / rows_of_block;
}

template <class T, class Call>
auto with_type(int64_t size, bool aligned, const Call& call) {
  constexpr int kWidth = 16 / sizeof(T);
  return aligned && size % (2 * kWidth) == 0 ? call(HalfLayout<T, kWidth, 1>{})
                                             : call(HalfLayout<T, 1, 4>{});
}

/// Calls call(HalfLayout) for heads of `size` <= 256 elements.
template <class Call>
auto with_layout(DType type, int64_t size, bool aligned, const Call& call) {
  return type == DType::kBFloat16 ? with_type<__nv_bfloat16>(size, aligned, call)
                                  : with_type<float>(size, aligned, call);
}

template <class Params>
const char* complaint(const Params& p) {
  if (p.size % 2 != 0 || p.size > kMaxRopeSize) return "a head size that is odd or over 256";
  if (p.tokens * p.heads >= int64_t{1} << 31) return "2^31 heads or more";
  return nullptr;
}

bool aligned(const NormRopeBackwardParams& p) {
  return is_aligned(p.x, p.weight, p.cos, p.sin, p.dy, p.dx);
}

}  // namespace

Status rope(const RopeParams& params, Stream stream) {
  if (complaint(params) != nullptr) return {complaint(params)};
  if (params.tokens * params.heads == 0) return {};
  const bool fast = is_aligned(params.x, params.weight, params.cos, params.sin, params.y);
  return with_layout(params.type, params.size, fast, [&](auto layout) {
    using Layout = decltype(layout);
    const int team = Layout::team(params.size);
    const auto blocks = static_cast<unsigned>(blocks_for(params.tokens * params.heads, team));
    const auto kernel =
        params.weight != nullptr ? forward_kernel<Layout, true> : forward_kernel<Layout, false>;
    kernel<<<blocks, kThreads, 0, cuda_stream(stream)>>>(params, team);
    return launch_status();
  });
}

int64_t norm_rope_backward_parts(const NormRopeBackwardParams& params) {
  return with_layout(params.type, params.size, aligned(params), [&](auto layout) {
    using Layout = decltype(layout);
    const int64_t blocks = blocks_for(params.tokens * params.heads, Layout::team(params.size));
    return resident_blocks(backward_kernel<Layout>, kThreads, 0, blocks);
  });
}

Status norm_rope_backward(const NormRopeBackwardParams& params, Stream stream) {
  if (complaint(params) != nullptr) return {complaint(params)};
  const Status status = with_layout(params.type, params.size, aligned(params), [&](auto layout) {
    using Layout = decltype(layout);
    backward_kernel<Layout>
        <<<static_cast<unsigned>(params.part_count), kThreads, 0, cuda_stream(stream)>>>(
            params, Layout::team(params.size));
    return launch_status();
  });
  if (!status.ok() || params.dweight == nullptr) return status;
  return sum_parts(
      {params.parts, params.dweight, params.part_count, params.size, params.weight_type}, stream);
}

}  // namespace hypenet::kernels::cuda
