// Backwards a thread computes the gate and the norm of its channels again: nothing but the inputs
// is kept.
#include "kernels/cuda/head_gates.h"
#include "kernels/cuda/head_rows.cuh"
#include "kernels/cuda/parts.h"

namespace hypenet::kernels::cuda {
namespace {

/// What a thread keeps for all its rows.
template <class Layout>
struct Parameters {
  float weight[Layout::kWidth] = {}, bias[Layout::kWidth] = {}, skip = 0;

  __device__ Parameters(const SkipGateParams& p, const HeadPlace& place) {
    if (!place.is_used) return;
    const int64_t index = place.head * Layout::kTeam + place.lane;
    load_parameters(p.weight, index, weight);
    if (p.bias != nullptr) load_parameters(p.bias, index, bias);
    if (p.skip != nullptr) skip = __ldg(p.skip + place.head);
  }
};

/// A thread's numbers of a row, as they lie in memory.
template <class Layout>
struct Packs {
  using T = typename Layout::Element;
  Pack<T, Layout::kWidth> y, x, z;

  __device__ Packs(const SkipGateParams& p, const HeadPlace& place, int64_t row) {
    if (!place.is_used || row >= p.rows) return;
    const int64_t index = (row * p.heads + place.head) * Layout::kTeam + place.lane;
    y = load_pack<T, Layout::kWidth>(p.y, index);
    if (p.x != nullptr) x = load_pack<T, Layout::kWidth>(p.x, index);
    z = load_pack<T, Layout::kWidth>(static_cast<const T*>(p.z) + row * p.z_row,
                                     place.head * Layout::kTeam + place.lane);
  }
};

/// What the norm is of: u = y silu(gate), y with its skip and the gate with its bias; and 1 / the
/// root of u's mean square.
template <class Layout>
struct Opened {
  float y[Layout::kWidth], x[Layout::kWidth], gate[Layout::kWidth], u[Layout::kWidth], inverse;

  __device__ Opened(const Packs<Layout>& packs, const Parameters<Layout>& own, float eps) {
    unpack(packs.y, y), unpack(packs.x, x), unpack(packs.z, gate);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) {
      y[i] += own.skip * x[i], gate[i] += own.bias[i];
      u[i] = y[i] * gate[i] * sigmoid(gate[i]);
      squares += u[i] * u[i];
    }
    inverse = rsqrtf(Layout::sum(squares) / Layout::d + eps);
  }
};

template <class Layout>
__global__ void __launch_bounds__(kHeadRowThreads)
    forward_kernel(SkipGateParams p, int heads, int rows) {
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
    const Opened<Layout> opened(packs, own, p.eps);
    if (!place.is_used || row >= p.rows) continue;
    float out[Layout::kWidth];
#pragma unroll
    for (int i = 0; i < Layout::kWidth; ++i) {
      out[i] = opened.u[i] * opened.inverse * own.weight[i];
    }
    store_pack(p.out, (row * p.heads + place.head) * Layout::kTeam + place.lane, pack_of<T>(out));
  }
}

template <class Layout>
__global__ void __launch_bounds__(kHeadRowThreads, 2)
    backward_kernel(SkipGateBackwardParams p, int heads, int rows) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth;
  extern __shared__ float shared[];
  const SkipGateParams& f = p.forward;
  const HeadPlace place(heads, rows, Layout::kTeam, f.heads);
  const Parameters<Layout> own(f, place);
  float dskip[kWidth] = {}, dbias[kWidth] = {}, dweight[kWidth] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * rows;
  for (int64_t start = static_cast<int64_t>(blockIdx.x) * rows; start < f.rows; start += step) {
    const int64_t row = start + place.row;
    const bool is_used = place.is_used && row < f.rows;
    const int64_t index = (row * f.heads + place.head) * Layout::kTeam + place.lane;
    const Packs<Layout> packs(f, place, row);
    Pack<T, kWidth> dout_pack;
    if (is_used) dout_pack = load_pack<T, kWidth>(p.dout, index);
    const Opened<Layout> at(packs, own, f.eps);
    float du[kWidth], along = 0;
    unpack(dout_pack, du);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float normed = at.u[i] * at.inverse;
      dweight[i] += du[i] * normed;
      du[i] *= own.weight[i];
      along += du[i] * normed;
    }
    along = Layout::sum(along) / Layout::d;
    float dy[kWidth], dx[kWidth], dz[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float s = sigmoid(at.gate[i]);
      du[i] = at.inverse * (du[i] - at.u[i] * at.inverse * along);
      dy[i] = du[i] * at.gate[i] * s;
      dz[i] = du[i] * at.y[i] * s * (1 + at.gate[i] * (1 - s));
      dx[i] = dy[i] * own.skip;
      dskip[i] += dy[i] * at.x[i], dbias[i] += dz[i];
    }
    if (!is_used) continue;
    store_pack(p.dy, index, pack_of<T>(dy));
    store_pack(p.dz, index, pack_of<T>(dz));
    if (p.dx != nullptr) store_pack(p.dx, index, pack_of<T>(dx));
  }
  const int64_t size = p.part_count * f.heads * Layout::d;
  const auto write = [&](const float(&sums)[kWidth], int which, const float* wanted) {
    write_head_part(sums, place, rows, f.heads, Layout::d, shared,
                    wanted != nullptr ? p.parts + which * size : nullptr);
  };
  write(dweight, 0, p.dweight), write(dbias, 1, p.dbias), write(dskip, 2, p.dskip);
}

constexpr int kBackwardBytes = 8;  // that a lane reads of bfloat16 rows

constexpr size_t kShared = kHeadRowThreads * 8 * sizeof(float);

template <class Layout>
HeadGrid backward_grid(const SkipGateParams& p) {
  return head_grid<Layout>(backward_kernel<Layout>, p.rows, p.heads, 1, kShared);
}

}  // namespace

Status skip_gate(const SkipGateParams& params, Stream stream) {
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

int64_t skip_gate_parts(const SkipGateParams& params) {
  return with_head_rows<kBackwardBytes>(params.type, params.size, [&](auto layout) -> int64_t {
    return backward_grid<decltype(layout)>(params).blocks.x;
  });
}

Status skip_gate_backward(const SkipGateBackwardParams& params, Stream stream) {
  const SkipGateParams& forward = params.forward;
  if (forward.size != 64 && forward.size != 128) return {"a head size that is not 64 or 128"};
  Status status = with_head_rows<kBackwardBytes>(forward.type, forward.size, [&](auto layout) {
    using Layout = decltype(layout);
    const HeadGrid grid = backward_grid<Layout>(forward);
    backward_kernel<Layout><<<grid.blocks, grid.threads, kShared, cuda_stream(stream)>>>(
        params, grid.heads, grid.rows);
    return launch_status();
  });
  float* const outs[] = {params.dweight, params.dbias, params.dskip};
  const int64_t size = forward.heads * forward.size;
  for (int i = 0; i < 3 && status.ok(); ++i) {
    if (outs[i] == nullptr) continue;
    status = sum_parts({params.parts + i * params.part_count * size, outs[i], params.part_count,
                        size, DType::kFloat32},
                       stream);
  }
  return status;
}

}  // namespace hypenet::kernels::cuda
