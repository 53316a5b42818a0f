// An index copy has no way to leave a row out, so padding writes what another row writes.
#include "ops/slot_states.h"

namespace hypenet {

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

}  // namespace hypenet
