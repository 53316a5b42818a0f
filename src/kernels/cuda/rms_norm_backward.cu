// The backward: blocks stay and take rows in turn, so that each leaves one part of the weight's
// gradient, summed in registers.
#include "kernels/cuda/parts.h"
#include "kernels/cuda/resident.cuh"
#include "kernels/cuda/row_layout.cuh"
#include "kernels/rms_norm.h"

namespace hypenet::kernels::cuda {
namespace {

enum class Form { kPlain, kAdd, kGated };

/// Adds up what the teams of a block hold, in a fixed order, and writes the block's part.
template <class Layout>
__device__ void write_part(float (&dweight)[Layout::kPacks][Layout::kWidth],
                           const RmsNormBackwardParams& p, int team, float* shared) {
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  const int packs = static_cast<int>(p.size / kWidth);
  float* const part = p.parts + blockIdx.x * p.size;
  if (Layout::kBlockRow) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const int index = threadIdx.x + j * team;
      if (index < packs) store_floats(part, index, dweight[j]);
    }
    return;
  }
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      for (int offset = team; offset < 32; offset *= 2) {
        dweight[j][i] += __shfl_xor_sync(~0U, dweight[j][i], offset);
      }
    }
  }
  for (int turn = 0; turn < Layout::kMaxThreads / 32; ++turn) {
    if (turn == warp && lane < team) {
#pragma unroll
      for (int j = 0; j < kPacks; ++j) {
        const int index = lane + j * team;
        if (index >= packs) continue;
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          float& sum = shared[index * kWidth + i];
          sum = turn == 0 ? dweight[j][i] : sum + dweight[j][i];
        }
      }
    }
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) part[i] = shared[i];
}

// Blocks of 4 warps that a multiprocessor has to hold, 0 where the compiler does well unasked: with
// 3 packs it would load all weights early and take 121 registers. 5 allow 96, 6 allow 80.
template <class Layout, Form form>
constexpr int kResidentBlocks = Layout::kBlockRow || Layout::kPacks != 3 ? 0
                                : form == Form::kPlain                   ? 6
                                                                         : 5;

/// With n = x * inverse and dn = dy * sigmoid(gate) * weight: dx = inverse * (dn - n * mean(dn *
/// n)) and dgate = dn * n * (1 - sigmoid(gate)).
template <class Layout, Form form>
__global__ void __launch_bounds__(Layout::kMaxThreads, (kResidentBlocks<Layout, form>))
    backward_kernel(RmsNormBackwardParams p, int team) {
  using T = typename Layout::Element;
  constexpr int kWidth = Layout::kWidth, kPacks = Layout::kPacks;
  // Sums of a row's warps, for two rows in turn; the teams' shares of dweight at the end.
  extern __shared__ float shared[];
  const int lane = Layout::kBlockRow ? threadIdx.x : threadIdx.x % team;
  const int64_t rows_of_block = Layout::kBlockRow ? 1 : blockDim.x / team;
  const int64_t own_row = Layout::kBlockRow ? 0 : threadIdx.x / team;
  float dweight[kPacks][kWidth] = {};
  int turn = 0;

  // All threads of a block go round equally often: they sum together.
  for (int64_t start = blockIdx.x * rows_of_block; start < p.rows;
       start += gridDim.x * rows_of_block, turn ^= 1) {
    const int64_t row = start + own_row;
    const int packs = row < p.rows ? static_cast<int>(p.size / kWidth) : 0;
    const int64_t first = row * (p.size / kWidth);
    Pack<T, kWidth> x[kPacks], dy[kPacks], other[kPacks];  // other: gate or dsum
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      x[j] = {}, dy[j] = {}, other[j] = {};
      const int index = lane + j * team;
      if (index >= packs) continue;
      x[j] = load_pack<T, kWidth>(p.x, first + index);
      dy[j] = load_pack<T, kWidth>(p.dy, first + index);
      if (form == Form::kAdd) other[j] = load_pack<T, kWidth>(p.dsum, first + index);
      if (form == Form::kGated) other[j] = load_pack<T, kWidth>(p.gate, first + index);
    }
    const float inverse = row < p.rows ? p.inverse[row] : 0;

    float dot = 0;
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const int index = lane + j * team;
      if (index >= packs) continue;
      float values[kWidth], gradient[kWidth], weight[kWidth];
      unpack(x[j], values), unpack(dy[j], gradient);
      load_floats(p.weight, p.weight_type, index, weight);
      if (form == Form::kGated) {
        float gate[kWidth], dgate[kWidth];
        unpack(other[j], gate);
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          const float s = sigmoid(gate[i]);
          gradient[i] *= s;
          dgate[i] = gradient[i] * weight[i] * values[i] * inverse * (1.0F - s);
        }
        store_pack(p.dgate, first + index, pack_of<T>(dgate));
      }
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float along = gradient[i] * values[i];
        dot += along * weight[i];
        dweight[j][i] += along * inverse;
      }
    }
    dot = row_sum<Layout::kBlockRow>(dot, team, shared + turn * (Layout::kMaxThreads / 32));
    const float along = dot * inverse * inverse / static_cast<float>(p.size);

#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const int index = lane + j * team;
      if (index >= packs) continue;
      float values[kWidth], gradient[kWidth], weight[kWidth], rest[kWidth];
      unpack(x[j], values), unpack(dy[j], gradient), unpack(other[j], rest);
      load_floats(p.weight, p.weight_type, index, weight);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        if (form == Form::kGated) gradient[i] *= sigmoid(rest[i]);
        values[i] = inverse * (gradient[i] * weight[i] - along * values[i]);
        if (form == Form::kAdd) values[i] += rest[i];
      }
      store_pack(p.dx, first + index, pack_of<T>(values));
    }
  }
  if (p.parts != nullptr) write_part<Layout>(dweight, p, team, shared);
}

template <class Layout>
size_t shared_bytes(int64_t size) {
  return sizeof(float) * (Layout::kBlockRow ? 2 * Layout::kMaxThreads / 32 : size);
}

template <class Layout, Form form>
int64_t part_count(const RmsNormBackwardParams& p) {
  const int64_t rows_of_block = Layout::rows_of_block(p.size);
  return resident_blocks(backward_kernel<Layout, form>, Layout::threads(p.size),
                         shared_bytes<Layout>(p.size),
                         (p.rows + rows_of_block - 1) / rows_of_block);
}

template <class Layout, Form form>
Status launch(const RmsNormBackwardParams& p, Stream stream) {
  backward_kernel<Layout, form>
      <<<static_cast<unsigned>(p.part_count), Layout::threads(p.size), shared_bytes<Layout>(p.size),
         cuda_stream(stream)>>>(p, Layout::team(p.size));
  return launch_status();
}

/// As with_row_layout, with fewer elements a thread: three tensors and the sums of a fourth are
/// held where the forward holds two tensors, and warps under way count for more than lanes that
/// idle.
template <class T, class Launch>
auto with_narrow_row_layout(int64_t size, bool aligned, const Launch& launch) {
  constexpr int kWidth = 16 / sizeof(T);
  const int64_t packs = size / kWidth;
  if (!aligned || size % kWidth != 0) return launch(RowLayout<T, 1, 32, true>{});
  if (packs <= 2 * 32) return launch(RowLayout<T, kWidth, 2, false>{});
  if (packs <= 3 * 32) return launch(RowLayout<T, kWidth, 3, false>{});
  if (packs <= 2 * 512) return launch(RowLayout<T, kWidth, 2, true>{});
  return launch(RowLayout<T, kWidth, 32 / kWidth, true>{});
}

template <Form form, class Call>
auto with_type(const RmsNormBackwardParams& p, const Call& call) {
  const bool aligned = is_aligned(p.x, p.gate, p.weight, p.dy, p.dsum, p.dx, p.dgate);
  const auto with_layout = [&](auto layout) {
    return call(layout, std::integral_constant<Form, form>{});
  };
  return p.type == DType::kBFloat16
             ? with_narrow_row_layout<__nv_bfloat16>(p.size, aligned, with_layout)
             : with_narrow_row_layout<float>(p.size, aligned, with_layout);
}

/// Calls call(layout, form) for the kernel that these parameters take.
template <class Call>
auto with_kernel(const RmsNormBackwardParams& p, const Call& call) {
  if (p.dsum != nullptr) return with_type<Form::kAdd>(p, call);
  if (p.gate != nullptr) return with_type<Form::kGated>(p, call);
  return with_type<Form::kPlain>(p, call);
}

}  // namespace

int64_t rms_norm_backward_parts(const RmsNormBackwardParams& params) {
  return with_kernel(params, [&](auto layout, auto form) {
    return part_count<decltype(layout), decltype(form)::value>(params);
  });
}

Status rms_norm_backward(const RmsNormBackwardParams& params, Stream stream) {
  if (params.size > kMaxNormSize) return {"rows of more than 16384 elements"};
  const Status status = with_kernel(params, [&](auto layout, auto form) {
    return launch<decltype(layout), decltype(form)::value>(params, stream);
  });
  if (!status.ok() || params.dweight == nullptr) return status;
  return sum_parts(
      {params.parts, params.dweight, params.part_count, params.size, params.weight_type}, stream);
}

}  // namespace hypenet::kernels::cuda
