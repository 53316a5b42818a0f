// Stands in where the program has no device kernels.
#include "kernels/cuda/slot_rows.h"

#include "kernels/no_cuda/status.h"

namespace hypenet::kernels::cuda {

Status take_slot_rows(const SlotRowsParams& /*params*/, int32_t* /*row_tokens*/,
                      int32_t* /*row_positions*/, Stream /*stream*/) {
  return kNoCuda;
}

Status put_slot_rows(const SlotRowsParams& /*params*/, const int32_t* /*ids*/,
                     const float* /*logprobs*/, int32_t* /*packed*/, Stream /*stream*/) {
  return kNoCuda;
}

}  // namespace hypenet::kernels::cuda
