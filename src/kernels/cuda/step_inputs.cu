// A block a row: all of its threads copy the embedding, then each forms one angle.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/step_inputs.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr double kPi = 3.141592653589793238;

/// cos and sin of an angle >= 0, each to about a unit of float32. Counted in half turns, whole
/// turns fall off exactly; the division before costs 3e-16 of the angle, 3e-10 rad at a million.
/// What float32 does not hold of the rest enters to first order.
__device__ __forceinline__ void cos_sin(double angle, float& cos, float& sin) {
  const double half_turns = angle * (1 / kPi);
  const double left = half_turns - 2 * rint(half_turns / 2);  // [-1, 1]
  const auto near = static_cast<float>(left);
  const auto rest = static_cast<float>((left - near) * kPi);
  float near_cos, near_sin;
  sincospif(near, &near_sin, &near_cos);
  cos = near_cos - near_sin * rest;
  sin = near_sin + near_cos * rest;
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) step_inputs_kernel(StepInputsParams p) {
  const int64_t row = blockIdx.x;
  const int64_t first = threadIdx.x;
  const double frequency = first < p.half ? p.frequencies[first] : 0;
  const double scale_log = p.query_scale != nullptr && first == 0 ? log(p.scale_base) : 1;
  let_next_kernel_start();
  const int64_t position = p.positions[row];
  // The sampler's -1 for a row that is not finite must not be an address: the host hears of it only
  // after this step has been queued.
  const int64_t id = max(int64_t{0}, min(int64_t{p.ids[row]}, p.vocabulary - 1));
  const int64_t packs = p.size / kWidth;
  for (int64_t i = first; i < packs; i += kThreads) {
    float x[kWidth];
    load_floats(p.embedding, p.table_type, id * packs + i, x);
    store_pack(p.h, row * packs + i, pack_of<T>(x));
  }
  for (int64_t i = first; i < p.half; i += kThreads) {
    const double rate = i == first ? frequency : p.frequencies[i];
    cos_sin(static_cast<double>(position) * rate, p.cos[row * p.half + i], p.sin[row * p.half + i]);
  }
  if (p.query_scale != nullptr && first == 0) {
    p.query_scale[row] =
        static_cast<float>(log(static_cast<double>(position) + p.scale_base) / scale_log);
  }
}

template <class T>
Status launch(const StepInputsParams& p, Stream stream) {
  // Packs are as wide as 16 bytes of h, in the wider table two loads.
  constexpr int kWidth = 16 / sizeof(T);
  const bool has_packs = p.size % kWidth == 0 && is_aligned(p.embedding, p.h);
  const dim3 blocks(static_cast<unsigned>(p.rows));
  // Not launched early: the step's later kernels may read ahead what all earlier steps have
  // written.
  if (has_packs) {
    step_inputs_kernel<T, kWidth><<<blocks, kThreads, 0, cuda_stream(stream)>>>(p);
  } else {
    step_inputs_kernel<T, 1><<<blocks, kThreads, 0, cuda_stream(stream)>>>(p);
  }
  return launch_status();
}

}  // namespace

Status step_inputs(const StepInputsParams& params, Stream stream) {
  if (params.rows > 0x7FFFFFFF) return {"more than 2^31 rows"};
  if (params.rows == 0) return {};
  return params.type == DType::kBFloat16 ? launch<__nv_bfloat16>(params, stream)
                                         : launch<float>(params, stream);
}

}  // namespace hypenet::kernels::cuda
