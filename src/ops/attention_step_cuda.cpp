// Pointers and sizes for the kernels, and the memory they work in.
#include <c10/core/DeviceGuard.h>

#include "kernels/device.h"
#include "ops/attention_step_forms.h"
#include "ops/stream.h"

namespace hypenet {
namespace {

kernels::cuda::KvPageParams pages_of(const AttentionStepInput& input) {
  const Tensor& keys = input.cache.keys;
  return {.keys = keys.mutable_data_ptr(),
          .values = input.cache.values.mutable_data_ptr(),
          .page_table = input.page_table.const_data_ptr<int32_t>(),
          .slots = input.slots.const_data_ptr<int32_t>(),
          .positions = input.positions.const_data_ptr<int32_t>(),
          .page_tokens = keys.size(1),
          .table_width = input.page_table.size(1)};
}

}  // namespace

Tensor attention_step_cuda(const AttentionStepInput& input) {
  const c10::DeviceGuard on_device(input.q.device());
  const Tensor q = dense(input.q), k = dense(input.k), v = dense(input.v);
  const Tensor q_weight = dense(input.q_weight), k_weight = dense(input.k_weight);
  const Tensor cos = dense(input.angles.cos), sin = dense(input.angles.sin);
  const Tensor query_scale = dense(input.query_scale), gate = dense(input.gate);
  const Tensor o = torch::empty_like(q);
  const int64_t d = input.cache.keys.size(3);
  kernels::cuda::AttentionStepParams params{
      .q = q.const_data_ptr(),
      .k = k.const_data_ptr(),
      .v = v.const_data_ptr(),
      .q_weight = data_or_null(q_weight),
      .k_weight = data_or_null(k_weight),
      .cos = floats_or_null(cos),
      .sin = floats_or_null(sin),
      .query_scale = floats_or_null(query_scale),
      .gate = data_or_null(gate),
      .pages = pages_of(input),
      .parts = nullptr,
      .o = o.mutable_data_ptr(),
      .rows = q.size(0),
      .heads = q.size(1) / d,
      .key_heads = input.cache.keys.size(2),
      .size = d,
      .weight_type = q_weight.defined() ? kernel_type(q_weight) : kernels::DType::kFloat32,
      .eps = static_cast<float>(input.eps)};
  const Tensor parts = torch::empty({kernels::device_kernels().attention_step_floats(params)},
                                    q.options().dtype(torch::kFloat32));
  params.parts = parts.mutable_data_ptr<float>();
  throw_unless_ok("attention_step",
                  kernels::device_kernels().attention_step(params, current_stream(q)));
  return o;
}

}  // namespace hypenet
