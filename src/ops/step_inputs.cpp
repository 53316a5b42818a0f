// One kernel where a GPU has it; elsewhere the ops that a whole sequence uses.
#include "ops/step_inputs.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/attention.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

void check_input(const StepInputsInput& input) {
  const Tensor &ids = input.ids, &frequencies = input.frequencies;
  const Tensor& embedding = input.embedding.read();
  HYPENET_CHECK(ids.dim() == 1, "step_inputs: ids: expected shape [N], found ", ids.sizes());
  check_shape("step_inputs: positions", input.positions, ids.sizes());
  HYPENET_CHECK(ids.scalar_type() == torch::kInt32, "step_inputs: ids: expected type Int, found ",
                ids.scalar_type());
  check_alike("step_inputs: positions", input.positions, ids);
  HYPENET_CHECK(embedding.dim() == 2 && embedding.size(0) > 0,
                "step_inputs: embedding: expected shape [V, D], found ", embedding.sizes());
  HYPENET_CHECK(frequencies.dim() == 1 && frequencies.scalar_type() == torch::kFloat64,
                "step_inputs: frequencies: expected shape [d / 2] of type Double, found ",
                frequencies.sizes(), " of ", frequencies.scalar_type());
  HYPENET_CHECK(embedding.device() == ids.device() && frequencies.device() == ids.device(),
                "step_inputs: expected embedding and frequencies on ", ids.device(), ", found ",
                embedding.device(), " and ", frequencies.device());
  HYPENET_CHECK(input.scale_base == 0 || input.scale_base > 1,
                "step_inputs: scale_base: expected 0 or more than 1, found ", input.scale_base);
}

StepInputs step_inputs_cuda(const StepInputsInput& input, torch::ScalarType type) {
  const c10::DeviceGuard on_device(input.ids.device());
  const Tensor ids = input.ids.contiguous(), positions = input.positions.contiguous();
  const Tensor embedding = dense(input.embedding.read()),
               frequencies = input.frequencies.contiguous();
  const int64_t N = ids.size(0), half = frequencies.size(0);
  const auto options = embedding.options(), wide = options.dtype(torch::kFloat32);
  StepInputs made{.h = torch::empty({N, embedding.size(1)}, options.dtype(type)),
                  .angles = {torch::empty({N, half}, wide), torch::empty({N, half}, wide)},
                  .query_scale = {}};
  const bool is_scaled = input.scale_base != 0;
  if (is_scaled) made.query_scale = torch::empty({N}, wide);
  const kernels::cuda::StepInputsParams params{
      .ids = ids.const_data_ptr<int32_t>(),
      .positions = positions.const_data_ptr<int32_t>(),
      .embedding = embedding.const_data_ptr(),
      .frequencies = frequencies.const_data_ptr<double>(),
      .h = made.h.mutable_data_ptr(),
      .cos = made.angles.cos.mutable_data_ptr<float>(),
      .sin = made.angles.sin.mutable_data_ptr<float>(),
      .query_scale = is_scaled ? made.query_scale.mutable_data_ptr<float>() : nullptr,
      .rows = N,
      .vocabulary = embedding.size(0),
      .size = embedding.size(1),
      .half = half,
      .table_type = kernel_type(embedding),
      .type = kernel_type(made.h),
      .scale_base = input.scale_base};
  throw_unless_ok("step_inputs",
                  kernels::device_kernels().step_inputs(params, current_stream(ids)));
  return made;
}

}  // namespace

StepInputs step_inputs(const StepInputsInput& input, torch::ScalarType type) {
  const torch::NoGradGuard no_grad;
  check_input(input);
  const bool has_kernel_type = type == torch::kBFloat16 || type == torch::kFloat32;
  if (has_kernel_type && suits_cuda_kernels({input.embedding.read()})) {
    return step_inputs_cuda(input, type);
  }
  const Weight& table = input.embedding;
  const Tensor rows = table.packed ? expand_rows(*table.packed, input.ids)
                                   : table.read().index_select(0, input.ids);
  StepInputs made{.h = rows.to(type),
                  .angles = rope_angles(input.positions, input.frequencies),
                  .query_scale = {}};
  if (input.scale_base != 0) {
    made.query_scale = log_position_scale(input.positions, input.scale_base);
  }
  return made;
}

}  // namespace hypenet
