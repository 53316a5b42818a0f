// An index copy has no way to leave a row out, so padding writes what another row writes.
#include "ops/slot_states.h"

#include "base/error.h"

namespace hypenet {
namespace {

std::vector<Tensor> narrowed(const std::vector<Tensor>& all, int64_t row) {
  std::vector<Tensor> own;
  own.reserve(all.size());
  for (const Tensor& x : all) own.push_back(x.narrow(0, row, 1));
  return own;
}

Tensor step_one_by_one(const Tensor& slots, const std::vector<Tensor>& inputs,
                       const std::vector<Tensor>& states, const StepOfRows& compute) {
  const Tensor output = torch::zeros_like(inputs[0], torch::MemoryFormat::Contiguous);
  for (int64_t n = 0; n < slots.size(0); ++n) {
    const int32_t slot = slots.const_data_ptr<int32_t>()[n];
    if (slot < 0) continue;
    const std::vector<Tensor> own = narrowed(states, slot);
    const SteppedRows found = compute(narrowed(inputs, n), own);
    for (size_t i = 0; i < own.size(); ++i) own[i].copy_(found.states[i]);
    output.narrow(0, n, 1).copy_(found.output);
  }
  return output;
}

Tensor step_at_once(const Tensor& slots, const std::vector<Tensor>& inputs,
                    const std::vector<Tensor>& states, const StepOfRows& compute) {
  std::vector<Tensor> taken;
  taken.reserve(states.size());
  for (const Tensor& all : states) taken.push_back(take_states(all, slots));
  const SteppedRows found = compute(inputs, taken);
  for (size_t i = 0; i < states.size(); ++i) put_states(states[i], slots, found.states[i]);
  std::vector<int64_t> shape(static_cast<size_t>(found.output.dim()), 1);
  shape[0] = -1;
  return found.output.masked_fill((slots < 0).view(shape), 0);
}

}  // namespace

Tensor take_states(const Tensor& states, const Tensor& slots) {
  return states.index_select(0, slots.to(torch::kInt64).clamp_min(0));
}

void put_states(const Tensor& states, const Tensor& slots, const Tensor& rows) {
  const Tensor is_row = slots >= 0, numbers = torch::arange(slots.size(0), rows.device());
  // Padding takes the part of some row; where all are padding, slot 0 gets what it had.
  const Tensor source = torch::where(is_row, numbers, is_row.to(torch::kInt32).argmax());
  const Tensor places = slots.to(torch::kInt64).index_select(0, source).clamp_min(0);
  std::vector<int64_t> shape(static_cast<size_t>(rows.dim()), 1);
  shape[0] = -1;
  const Tensor is_written = is_row.index_select(0, source).view(shape);
  states.index_copy_(
      0, places,
      torch::where(is_written, rows.index_select(0, source), states.index_select(0, places)));
}

Tensor step_rows(const Tensor& slots, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& states, const StepOfRows& compute) {
  const torch::NoGradGuard no_grad;
  HYPENET_CHECK(slots.dim() == 1 && slots.scalar_type() == torch::kInt32 && slots.is_contiguous(),
                "step_rows: slots: expected contiguous Int [N], found ", slots.scalar_type(), " ",
                slots.sizes());
  return slots.is_cpu() ? step_one_by_one(slots, inputs, states, compute)
                        : step_at_once(slots, inputs, states, compute);
}

}  // namespace hypenet
