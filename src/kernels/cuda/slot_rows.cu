// A thread a row.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/slot_rows.h"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void take_kernel(SlotRowsParams p, int32_t* row_tokens, int32_t* row_positions) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= p.rows) return;
  const int32_t slot = p.slots[row];
  row_tokens[row] = slot < 0 ? 0 : p.tokens[slot];
  row_positions[row] = slot < 0 ? 0 : p.positions[slot];
}

__global__ void put_kernel(SlotRowsParams p, const int32_t* ids, const float* logprobs,
                           int32_t* packed) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= p.rows) return;
  const int32_t slot = p.slots[row], id = ids[row];
  packed[row] = id;
  packed[p.rows + row] = __float_as_int(logprobs[row]);
  if (slot < 0) return;
  p.tokens[slot] = max(id, 0);
  p.positions[slot] += 1;
}

unsigned blocks_of(const SlotRowsParams& p) {
  return static_cast<unsigned>((p.rows + kThreads - 1) / kThreads);
}

}  // namespace

Status take_slot_rows(const SlotRowsParams& params, int32_t* row_tokens, int32_t* row_positions,
                      Stream stream) {
  if (params.rows == 0) return {};
  take_kernel<<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params, row_tokens,
                                                                       row_positions);
  return launch_status();
}

Status put_slot_rows(const SlotRowsParams& params, const int32_t* ids, const float* logprobs,
                     int32_t* packed, Stream stream) {
  if (params.rows == 0) return {};
  put_kernel<<<blocks_of(params), kThreads, 0, cuda_stream(stream)>>>(params, ids, logprobs,
                                                                      packed);
  return launch_status();
}

}  // namespace hypenet::kernels::cuda
