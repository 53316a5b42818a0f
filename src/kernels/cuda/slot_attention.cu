// The kernels of slot attention in their order, the scratch memory between them, and what the chain
// of slots needs of each chunk.
#include <algorithm>

#include "kernels/cuda/scratch.cuh"
#include "kernels/cuda/slot_attention.cuh"

namespace hypenet::kernels::cuda {
namespace {

constexpr int kPrepareThreads = 256;

SlotScratch scratch_of(const SlotAttentionSizes& s, void* base, bool is_backward) {
  SlotScratch scratch{};
  scratch.chunks = (s.tokens + kChunk - 1) / kChunk;
  const int64_t pieces = s.batch * s.key_heads * scratch.chunks;
  const int64_t query_pieces = s.batch * s.heads * scratch.chunks;
  const int64_t square = kChunk * kSlots, state = pieces * kSlots * s.size * 2;
  Cutter memory(base);
  scratch.left = memory.take(pieces * square * 2);
  scratch.kept = memory.take<float>(pieces * (1 + kBlocks) * kSlots * 4);
  scratch.keys = memory.take(state), scratch.values = memory.take(state);
  if (is_backward) {
    scratch.dkeys = memory.take(state), scratch.dvalues = memory.take(state);
    scratch.dscores = memory.take(query_pieces * square * 2);
    scratch.weights = memory.take(query_pieces * square * 2);
    scratch.reads = memory.take<float>(pieces * square * 4);
    scratch.deltas = memory.take<float>(query_pieces * kChunk * 4);
  }
  scratch.bytes = memory.bytes();
  return scratch;
}

/// What is left of each token's write at the end of its chunk, and of the slots themselves.
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_slots_kernel(const __grid_constant__ SlotWork work) {
  __shared__ float sums[kChunk * FadeTable::kStride];
  const SlotBlock at(work.p.sizes);
  const FadeTable table{sums, nullptr};
  table.fill_sums(work, at);
  FadedBlock own;
  own.load(work, at, threadIdx.x);
  const auto sum_at = [&](int row) { return sums[row * FadeTable::kStride + own.slot]; };
  const int64_t piece = at.piece(work.scratch.chunks);
  const float end = sum_at(kChunk - 1);
  __nv_bfloat16* const to = reinterpret_cast<__nv_bfloat16*>(work.scratch.left) +
                            (piece * kChunk + 16 * own.block) * kSlots + own.slot;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    to[i * kSlots] =
        __float2bfloat16_rn(own.share(i) * power_of_two(end - sum_at(16 * own.block + i)));
  }
  float* const kept = work.scratch.kept + piece * (1 + kBlocks) * kSlots + own.slot;
  kept[(1 + own.block) * kSlots] = power_of_two(sum_at(16 * own.block + FadeTable::kMiddle));
  if (own.block == 0) kept[0] = power_of_two(end);
}

Status prepare_slots(const SlotWork& work, Stream stream) {
  const SlotAttentionSizes& s = work.p.sizes;
  const dim3 blocks(static_cast<unsigned>(work.scratch.chunks),
                    static_cast<unsigned>(s.batch * s.key_heads));
  prepare_slots_kernel<<<blocks, kPrepareThreads, 0, cuda_stream(stream)>>>(work);
  return launch_status();
}

}  // namespace

bool has_slot_attention(const SlotAttentionSizes& s) {
  if (s.size != 64 && s.size != 128) return false;
  if (s.slots < 8 || s.slots > kSlots || s.slots % 8 != 0) return false;
  if (s.window < 1 || s.window > kChunk || (s.past != 0 && s.past != s.window)) return false;
  if (s.batch * s.key_heads > 65535) return false;
  const int64_t most = std::max({read_slots_bytes(s.size), read_slots_backward_bytes(s.size),
                                 write_slots_backward_bytes(s.size)});
  return shared_of_block() >= most;
}

int64_t slot_attention_bytes(const SlotAttentionSizes& sizes, bool is_backward) {
  return scratch_of(sizes, nullptr, is_backward).bytes;
}

Status slot_attention(const SlotAttentionParams& params, Stream stream) {
  const SlotWork work{params, scratch_of(params.sizes, params.scratch, false)};
  Status status = prepare_slots(work, stream);
  if (status.ok()) status = chain_slots(work, stream);
  return status.ok() ? read_slots(work, stream) : status;
}

Status slot_attention_backward(const SlotAttentionBackwardParams& params, Stream stream) {
  SlotWork forward{params.forward, scratch_of(params.forward.sizes, params.forward.scratch, true)};
  forward.p.final_keys = forward.p.final_values = nullptr;
  const SlotBackwardWork work{params, forward.scratch};
  Status status = prepare_slots(forward, stream);
  if (status.ok()) status = chain_slots(forward, stream);
  if (status.ok()) status = read_slots_backward(work, stream);
  if (status.ok()) status = chain_slots_backward(work, stream);
  return status.ok() ? write_slots_backward(work, stream) : status;
}

}  // namespace hypenet::kernels::cuda
