// The forms that slot_attention chooses from, beside its tensor code.
#pragma once

#include "ops/form.h"
#include "ops/slot_attention.h"

namespace hypenet {

/// By the kernels of kernels/cuda (docs/kernels.md, "Slot attention"): bfloat16 q, k and v, any
/// decay. Products are of bfloat16 factors, sums and the slots on their way float32.
bool suits_slot_attention_cuda(const SlotAttention& input);
SlotAttentionOutput slot_attention_cuda(const SlotAttention& input);

}  // namespace hypenet
