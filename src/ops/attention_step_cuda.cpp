// The memory that the kernels work in.
#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/attention_step_forms.h"
#include "ops/stream.h"

namespace hypenet {

Tensor attention_step_cuda(const AttentionStepInput& given) {
  const c10::DeviceGuard on_device(given.q.device());
  const AttentionStepInput input = with_each(given, dense);
  const Tensor o = torch::empty_like(input.q);
  kernels::AttentionStepParams params = step_params(input, o);
  const Tensor parts = torch::empty({kernels::device_kernels().attention_step_floats(params)},
                                    o.options().dtype(torch::kFloat32));
  params.parts = parts.mutable_data_ptr<float>();
  throw_unless_ok("attention_step",
                  kernels::device_kernels().attention_step(params, current_stream(o)));
  return o;
}

}  // namespace hypenet
