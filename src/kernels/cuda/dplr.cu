// The kernels of RWKV-7's recurrence in their order, and the scratch memory between them.
#include <algorithm>

#include "kernels/cuda/dplr.cuh"

namespace hypenet::kernels::cuda {
namespace {

DplrScratch scratch_of(const DplrParams& p, bool is_backward) {
  DplrScratch scratch{};
  scratch.chunks = (p.tokens + kChunk - 1) / kChunk;
  const int64_t pieces = p.batch * p.heads * scratch.chunks, tile = pieces * kChunk * p.size * 2;
  const int64_t square = pieces * kChunk * kChunk * 2, matrix = pieces * p.size * p.size * 2;
  Cutter cutter(p.scratch);
  scratch.readers = cutter.take(tile), scratch.writers = cutter.take(tile);
  scratch.keys = cutter.take(tile), scratch.queries = cutter.take(tile);
  scratch.scores = cutter.take(square);
  scratch.across = cutter.take<float>(pieces * p.size * 4);
  if (is_backward) {
    scratch.solver = cutter.take(square), scratch.of_values = cutter.take(square);
    scratch.of_reads = cutter.take(square);
    scratch.states = cutter.take(matrix), scratch.dstates = cutter.take(matrix);
  }
  scratch.bytes = cutter.bytes();
  return scratch;
}

}  // namespace

bool has_dplr(int64_t size) {
  if (size != 64 && size != 128) return false;
  const int64_t most =
      std::max({prepare_dplr_bytes(size), chain_dplr_bytes(size), dplr_gradients_bytes(size)});
  return device_attribute(cudaDevAttrComputeCapabilityMajor) >= 8 && shared_of_block() >= most;
}

int64_t dplr_bytes(const DplrParams& params, bool is_backward) {
  return scratch_of(params, is_backward).bytes;
}

Status dplr(const DplrParams& params, Stream stream) {
  const DplrWork work{params, scratch_of(params, false)};
  const Status status = prepare_dplr(work, false, stream);
  return status.ok() ? chain_dplr(work, false, stream) : status;
}

Status dplr_backward(const DplrBackwardParams& params, Stream stream) {
  const DplrScratch scratch = scratch_of(params.forward, true);
  const DplrWork forward{params.forward, scratch};
  const DplrBackwardWork work{params, scratch};
  Status status = prepare_dplr(forward, true, stream);
  if (status.ok()) status = chain_dplr(forward, true, stream);
  if (status.ok()) status = chain_dplr_backward(work, stream);
  return status.ok() ? dplr_gradients(work, stream) : status;
}

}  // namespace hypenet::kernels::cuda
