// Loops over a few numbers, or a kernel.
#include "ops/slot_rows.h"

#include <c10/core/DeviceGuard.h>

#include <cstring>

#include "kernels/device.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

void check_row_numbers(const char* what, const Tensor& x, const Tensor& slots, int64_t count) {
  HYPENET_CHECK(x.dim() >= 1 && x.numel() == count && x.scalar_type() == torch::kInt32 &&
                    x.is_contiguous() && x.device() == slots.device(),
                "slot_rows: ", what, ": expected ", count, " contiguous int32 on ", slots.device(),
                ", found ", x.sizes(), " ", x.scalar_type(), " on ", x.device());
}

kernels::cuda::SlotRowsParams checked_params(const Tensor& slots, const SlotTokens& all) {
  check_row_numbers("slots", slots, slots, slots.numel());
  check_row_numbers("tokens", all.tokens, slots, all.tokens.numel());
  check_row_numbers("positions", all.positions, slots, all.tokens.numel());
  return {.slots = slots.const_data_ptr<int32_t>(),
          .tokens = all.tokens.mutable_data_ptr<int32_t>(),
          .positions = all.positions.mutable_data_ptr<int32_t>(),
          .rows = slots.size(0)};
}

}  // namespace

RowTokens take_rows(const Tensor& slots, const SlotTokens& all) {
  const auto params = checked_params(slots, all);
  const RowTokens rows{torch::empty_like(slots), torch::empty_like(slots)};
  auto* ids = rows.ids.mutable_data_ptr<int32_t>();
  auto* positions = rows.positions.mutable_data_ptr<int32_t>();
  if (slots.is_cuda()) {
    const c10::DeviceGuard on_device(slots.device());
    throw_unless_ok("take_rows", kernels::device_kernels().take_slot_rows(params, ids, positions,
                                                                          current_stream(slots)));
    return rows;
  }
  for (int64_t row = 0; row < params.rows; ++row) {
    const int32_t slot = params.slots[row];
    ids[row] = slot < 0 ? 0 : params.tokens[slot];
    positions[row] = slot < 0 ? 0 : params.positions[slot];
  }
  return rows;
}

void put_rows(const Tensor& slots, const SampledTokens& chosen, const SlotTokens& all,
              const Tensor& packed) {
  const auto params = checked_params(slots, all);
  const int64_t rows = params.rows;
  check_row_numbers("ids", chosen.ids, slots, rows);
  check_row_numbers("packed", packed, slots, 2 * rows);
  HYPENET_CHECK(chosen.logprobs.numel() == rows && chosen.logprobs.is_contiguous() &&
                    chosen.logprobs.device() == slots.device(),
                "slot_rows: logprobs: expected ", rows, " on ", slots.device(), ", found ",
                chosen.logprobs.sizes(), " on ", chosen.logprobs.device());
  const auto* ids = chosen.ids.const_data_ptr<int32_t>();
  const auto* logprobs = chosen.logprobs.const_data_ptr<float>();
  auto* out = packed.mutable_data_ptr<int32_t>();
  if (slots.is_cuda()) {
    const c10::DeviceGuard on_device(slots.device());
    throw_unless_ok("put_rows", kernels::device_kernels().put_slot_rows(params, ids, logprobs, out,
                                                                        current_stream(slots)));
    return;
  }
  std::memcpy(out, ids, static_cast<size_t>(rows) * sizeof(int32_t));
  std::memcpy(out + rows, logprobs, static_cast<size_t>(rows) * sizeof(float));
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t slot = params.slots[row];
    if (slot < 0) continue;
    params.tokens[slot] = std::max(ids[row], 0);
    params.positions[slot] += 1;
  }
}

}  // namespace hypenet
