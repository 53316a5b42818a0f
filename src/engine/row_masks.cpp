// Only the rows that are constrained take memory and time: the others have no mask.
#include "engine/row_masks.h"

#include <algorithm>

namespace hypenet {

RowMasks fill_masks(std::span<TokenMask* const> rows, int64_t padded, int64_t V,
                    torch::Device device) {
  const int64_t most = std::ranges::count_if(rows, [](const TokenMask* mask) { return mask; });
  if (most == 0) return {};
  const int64_t words = (V + 31) / 32;
  // The rows' numbers, then the masks: one copy.
  const Tensor host = torch::empty(
      {padded + most * words}, torch::TensorOptions(torch::kInt32).pinned_memory(device.is_cuda()));
  auto* const numbers = host.mutable_data_ptr<int32_t>();
  std::fill_n(numbers, padded, -1);
  int32_t masks = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    int32_t* const place = numbers + padded + masks * words;
    if (rows[row] != nullptr && rows[row]->fill({place, static_cast<size_t>(words)})) {
      numbers[row] = masks++;
    }
  }
  if (masks == 0) return {};
  const Tensor there = host.narrow(0, 0, padded + masks * words).to(device, /*non_blocking=*/true);
  return {.words = there.narrow(0, padded, masks * words).view({masks, words}),
          .rows = there.narrow(0, 0, padded)};
}

}  // namespace hypenet
