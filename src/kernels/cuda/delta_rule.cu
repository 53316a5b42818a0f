// The kernels of the delta rule in their order, the scratch memory between them, and how many
// columns of the state a block takes.
#include <algorithm>

#include "kernels/cuda/delta_rule.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int64_t kLongTokens = 8192;

DeltaScratch scratch_of(const DeltaRuleParams& p, bool is_backward) {
  DeltaScratch scratch{};
  scratch.chunks = (p.tokens + kChunk - 1) / kChunk;
  const int64_t pieces = p.batch * p.heads * scratch.chunks, tile = pieces * kChunk * p.size * 2;
  Cutter cutter(p.scratch);
  scratch.inverse = cutter.take(pieces * kChunk * kChunk * 2);
  scratch.scores = cutter.take(pieces * kChunk * kChunk * 2);
  scratch.factors = cutter.take<float>(pieces * kFactors * kChunk * 4);
  if (p.is_per_channel) {
    scratch.queries = cutter.take(tile), scratch.keys = cutter.take(tile);
    scratch.tails = cutter.take(tile);
    scratch.across = cutter.take<float>(pieces * p.size * 4);
  }
  if (is_backward) {
    scratch.states = cutter.take(pieces * p.size * p.size * 2);
    scratch.dstates = cutter.take(pieces * p.size * p.size * 2);
    scratch.rows = cutter.take(tile), scratch.drows = cutter.take(tile);
  }
  scratch.bytes = cutter.bytes();
  return scratch;
}

}  // namespace

bool takes_hopper_chains(const DeltaRuleParams& p) {
  if (p.portable || device_attribute(cudaDevAttrComputeCapabilityMajor) != 9) return false;
  // With few heads 64 columns a warpgroup leave most multiprocessors without a block: a long
  // sequence is faster in narrower slabs.
  return slab_columns(p) >= 64 || p.tokens < kLongTokens;
}

int slab_columns(const DeltaRuleParams& p) {
  const int64_t heads = p.batch * p.heads, processors = processors_of_device();
  int columns = static_cast<int>(p.size);
  // A block half as wide is not half as long: it pays only while all of them run at once.
  while (columns > 16 && heads * (p.size / columns) * 2 <= processors) columns /= 2;
  return columns;
}

bool has_delta_rule(int64_t size, bool is_per_channel) {
  if (size != 64 && size != 128) return false;
  const int64_t most = std::max({prepare_delta_rule_bytes(size, is_per_channel),
                                 chain_delta_rule_bytes(size, is_per_channel),
                                 delta_rule_gradients_bytes(size, is_per_channel)});
  return device_attribute(cudaDevAttrComputeCapabilityMajor) >= 8 && shared_of_block() >= most;
}

int64_t delta_rule_bytes(const DeltaRuleParams& params, bool is_backward) {
  return scratch_of(params, is_backward).bytes;
}

Status delta_rule(const DeltaRuleParams& params, Stream stream) {
  const DeltaRuleWork work{params, scratch_of(params, false)};
  const Status status = prepare_delta_rule(work, stream);
  return status.ok() ? chain_delta_rule(work, false, stream) : status;
}

Status delta_rule_backward(const DeltaRuleBackwardParams& params, Stream stream) {
  const DeltaScratch scratch = scratch_of(params.forward, true);
  const DeltaRuleWork forward{params.forward, scratch};
  const DeltaRuleBackwardWork work{params, scratch};
  Status status = prepare_delta_rule(forward, stream);
  if (status.ok()) status = chain_delta_rule(forward, true, stream);
  if (status.ok()) status = chain_delta_rule_backward(work, stream);
  return status.ok() ? delta_rule_gradients(work, stream) : status;
}

}  // namespace hypenet::kernels::cuda
