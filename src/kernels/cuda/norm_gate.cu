// The mean goes first and the squares are of what is left, in registers; backwards a thread
// computes the norm of its channels again.
#include "kernels/cuda/head_gates.h"
#include "kernels/cuda/head_rows.cuh"
#include "kernels/cuda/parts.h"

namespace hypenet::kernels::cuda {
namespace {

/// What a thread keeps for all its rows.
template <class Layout>
struct Parameters {
  float weight[Layout::kWidth] = {}, bias[Layout::kWidth] = {};

  __device__ Parameters(const NormGateParams& p, const HeadPlace& place) {
    if (!place.is_used) return;
    load_parameters(p.weight, place.head * Layout::kTeam + place.lane, weight);
    load_parameters(p.bias, place.head * Layout::kTeam + place.lane, bias);
  }
};

template <class Layout>
struct Packs {
  using T = typename Layout::Element;
  Pack<T, Layout::kWidth> x, gate;

  __device__ Packs(const NormGateParams& p, const HeadPlace& place, int64_t row) {
    if (!place.is_used || row >= p.rows) return;
    const int64_t index = (row * p.heads + place.head) * Layout::kTeam + place.lane;
    x = load_pack<T, Layout::kWidth>(p.x, index);
    gate = load_pack<T, Layout::kWidth>(p.gate, index);
  }
};

/// x without its mean and of mean square 1, and what the gate leaves: opening, and its derivative.
template <class Layout>
struct Normed {
  float x[Layout::kWidth], opening[Layout::kWidth], slope[Layout::kWidth], inverse;

  __device__ Normed(const Packs<Layout>& packs, bool is_sigmoid, float eps) {
    unpack(packs.x, x), unpack(packs.gate, opening);
    float sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) sum += x[i];
    const float mean = Layout::sum(sum) / Layout::d;
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) x[i] -= mean, squares += x[i] * x[i];
    inverse = rsqrtf(Layout::sum(squares) / Layout::d + eps);
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) {
      x[i] *= inverse, slope[i] = 1;
      if (!is_sigmoid) continue;
      opening[i] = sigmoid(opening[i]);
      slope[i] = opening[i] * (1 - opening[i]);
    }
  }
};

template <class Layout>
__global__ void __launch_bounds__(kHeadRowThreads)
    forward_kernel(NormGateParams p, int heads, int rows) {
  using T = typename Layout::Element;
  const HeadPlace place(heads, rows, Layout::kTeam, p.heads);
  const Parameters<Layout> own(p, place);
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows;
  int64_t row = static_cast<int64_t>(blockIdx.x) * rows + place.row;
  Packs<Layout> next(p, place, row);
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows; start < p.rows;
       start += step, row += step) {
    const Packs<Layout> packs = next;
    next = Packs<Layout>(p, place, row + step);
    const Normed<Layout> normed(packs, p.is_sigmoid, p.eps);
    if (!place.is_used || row >= p.rows) continue;
    float out[Layout::kWidth];
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) {
      out[i] = (normed.x[i] * own.weight[i] + own.bias[i]) * normed.opening[i];
    }
    store_pack(p.out, (row * p.heads + place.head) * Layout::kTeam + place.lane, pack_of<T>(out));
  }
}

template <class Layout>
__global__ void __launch_bounds__(kHeadRowThreads, 3)
    backward_kernel(NormGateBackwardParams p, int heads, int rows) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth;
  extern __shared__ float shared[];
  const NormGateParams& f = p.forward;
  const HeadPlace place(heads, rows, Layout::kTeam, f.heads);
  const Parameters<Layout> own(f, place);
  float dweight[kWidth] = {}, dbias[kWidth] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows;
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows; start < f.rows; start += step) {
    const int64_t row = start + place.row;
    const bool is_used = place.is_used && row < f.rows;
    const int64_t index = (row * f.heads + place.head) * Layout::kTeam + place.lane;
    const Packs<Layout> packs(f, place, row);
    Pack<T, kWidth> dout_pack;
    if (is_used) dout_pack = load_pack<T, kWidth>(p.dout, index);
    const Normed<Layout> at(packs, f.is_sigmoid, f.eps);
    float dout[kWidth], dgate[kWidth], mean = 0, along = 0;
    unpack(dout_pack, dout);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      dgate[i] = dout[i] * (at.x[i] * own.weight[i] + own.bias[i]) * at.slope[i];
      dout[i] *= at.opening[i];
      dbias[i] += dout[i], dweight[i] += dout[i] * at.x[i];
      dout[i] *= own.weight[i];
      mean += dout[i], along += dout[i] * at.x[i];
    }
    mean = Layout::sum(mean) / Layout::d, along = Layout::sum(along) / Layout::d;
    if (!is_used) continue;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) dout[i] = at.inverse * (dout[i] - mean - at.x[i] * along);
    store_pack(p.dx, index, pack_of<T>(dout));
    store_pack(p.dgate, index, pack_of<T>(dgate));
  }
  const int64_t size = p.part_count * f.heads * Layout::d;
  write_head_part(dweight, place, rows, f.heads, Layout::d, shared, p.parts);
  write_head_part(dbias, place, rows, f.heads, Layout::d, shared, p.parts + size);
}

constexpr int kBackwardBytes = 8;  // that a lane reads of bfloat16 rows

constexpr size_t kShared = kHeadRowThreads * 8 * sizeof(float);

template <class Layout>
HeadGrid backward_grid(const NormGateParams& p) {
  return head_grid<Layout>(backward_kernel<Layout>, p.rows, p.heads, 1, kShared);
}

}  // namespace

Status norm_gate(const NormGateParams& params, Stream stream) {
  if (params.size != 64 && params.size != 128) return {"a head size that is not 64 or 128"};
  if (params.rows == 0) return {};
  return with_head_rows<16>(params.type, params.size, [&](auto layout) {
    using Layout = decltype(layout);
    const HeadGrid grid =
        head_grid<Layout>(forward_kernel<Layout>, params.rows, params.heads, 1, 0);
    forward_kernel<Layout>
        <<<grid.blocks, grid.threads, 0, cuda_stream(stream)>>>(params, grid.heads, grid.rows);
    return launch_status();
  });
}

int64_t norm_gate_parts(const NormGateParams& params) {
  return with_head_rows<kBackwardBytes>(params.type, params.size, [&](auto layout) -> int64_t {
    return backward_grid<decltype(layout)>(params).blocks.x;
  });
}

Status norm_gate_backward(const NormGateBackwardParams& params, Stream stream) {
  const NormGateParams& forward = params.forward;
  if (forward.size != 64 && forward.size != 128) return {"a head size that is not 64 or 128"};
  Status status = with_head_rows<kBackwardBytes>(forward.type, forward.size, [&](auto layout) {
    using Layout = decltype(layout);
    const HeadGrid grid = backward_grid<Layout>(forward);
    backward_kernel<Layout><<<grid.blocks, grid.threads, kShared, cuda_stream(stream)>>>(
        params, grid.heads, grid.rows);
    return launch_status();
  });
  float* const outs[] = {params.dweight, params.dbias};
  const int64_t size = forward.heads * forward.size;
  for (int i = 0; i < 2 && status.ok(); ++i) {
    status = sum_parts({params.parts + i * params.part_count * size, outs[i], params.part_count,
                        size, DType::kFloat32},
                       stream);
  }
  return status;
}

}  // namespace hypenet::kernels::cuda
