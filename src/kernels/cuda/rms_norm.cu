// The forward: a row is read once, its sum of squares formed, and written once.
#include "kernels/cuda/row_layout.cuh"
#include "kernels/rms_norm.h"

namespace hypenet::kernels::cuda {
namespace {

enum class Form { kPlain, kAdd, kGated };

template <class Layout, Form form>
__global__ void __launch_bounds__(Layout::kMaxThreads) forward_kernel(RmsNormParams p, int team) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  __shared__ float sums[Layout::kMaxThreads / 32];
  const int lane = Layout::kBlockRow ? threadIdx.x : threadIdx.x % team;
  const int64_t row = Layout::kBlockRow ? blockIdx.x
                                        : static_cast<int64_t>(blockIdx.x) * (blockDim.x / team) +
                                              threadIdx.x / team;
  const int64_t packs = row < p.rows ? p.size / kWidth : 0, first = row * (p.size / kWidth);

  wait_for_earlier_kernels();
  Pack<T, kWidth> x[kPacks], other[kPacks];  // other: delta or gate
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = lane + j * team;
    if (index >= packs) continue;
    x[j] = load_pack<T, kWidth>(p.x, first + index);
    if (form == Form::kAdd) other[j] = load_pack<T, kWidth>(p.delta, first + index);
    if (form == Form::kGated) other[j] = load_pack<T, kWidth>(p.gate, first + index);
  }

  float squares = 0;
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = lane + j * team;
    float values[kWidth];
    unpack(x[j], values);
    if (form == Form::kAdd) {
      float delta[kWidth];
      unpack(other[j], delta);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) values[i] += delta[i];
      x[j] = pack_of<T>(values);
      if (index < packs) store_pack(p.sum, first + index, x[j]);
      unpack(x[j], values);
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) squares += values[i] * values[i];
  }
  squares = row_sum<Layout::kBlockRow>(squares, team, sums);
  const float inverse = rsqrtf(squares / static_cast<float>(p.size) + p.eps);
  if (p.inverse != nullptr && lane == 0 && row < p.rows) p.inverse[row] = inverse;

#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const int64_t index = lane + j * team;
    if (index >= packs) continue;
    float values[kWidth], weight[kWidth];
    unpack(x[j], values);
    load_floats(p.weight, p.weight_type, index, weight);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] *= inverse * weight[i];
    if (form == Form::kGated) {
      float gate[kWidth];
      unpack(other[j], gate);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        values[i] *= (p.gates_by_silu ? gate[i] : 1) * sigmoid(gate[i]);
      }
    }
    store_pack(p.y, first + index, pack_of<T>(values));
  }
}

template <class Layout, Form form>
Status launch(const RmsNormParams& p, Stream stream) {
  const int64_t rows_of_block = Layout::rows_of_block(p.size);
  const auto blocks = static_cast<unsigned>((p.rows + rows_of_block - 1) / rows_of_block);
  const int team = Layout::team(p.size);
  return launch_early(forward_kernel<Layout, form>, dim3(blocks), dim3(Layout::threads(p.size)),
                      stream, p, team);
}

// So few rows leave most of the device idle: what counts is how long one row takes.
constexpr int64_t kFewRows = 256;

template <class T, Form form>
Status launch_type(const RmsNormParams& p, Stream stream) {
  constexpr int kWidth = 16 / sizeof(T);
  const bool aligned = is_aligned(p.x, p.delta, p.gate, p.weight, p.sum, p.y);
  const int64_t packs = p.size / kWidth;
  if (aligned && p.size % kWidth == 0 && p.rows <= kFewRows && packs > 64 && packs <= 512) {
    return launch<RowLayout<T, kWidth, 1, true>, form>(p, stream);
  }
  return with_row_layout<T>(p.size, aligned,
                            [&](auto layout) { return launch<decltype(layout), form>(p, stream); });
}

template <Form form>
Status launch_form(const RmsNormParams& p, Stream stream) {
  return p.type == DType::kBFloat16 ? launch_type<__nv_bfloat16, form>(p, stream)
                                    : launch_type<float, form>(p, stream);
}

}  // namespace

Status rms_norm(const RmsNormParams& params, Stream stream) {
  if (params.size > kMaxNormSize) return {"rows of more than 16384 elements"};
  if (params.rows == 0) return {};
  if (params.delta != nullptr) return launch_form<Form::kAdd>(params, stream);
  if (params.gate != nullptr) return launch_form<Form::kGated>(params, stream);
  return launch_form<Form::kPlain>(params, stream);
}

}  // namespace hypenet::kernels::cuda
