// Lightning attention (docs/kernels.md): the linear recurrence with a fixed decay per head and no
// delta rule, S_t = exp(-decay_h) S_{t-1} + k_t^T v_t,  o_t = scale * q_t S_t.
#pragma once

#include "ops/recurrence.h"

namespace hypenet {

/// The decays of H heads, float32 [H], nats per token: the slopes m_h of ALiBi (arXiv 2108.12409),
/// the same in every layer.
Tensor lightning_decay(int64_t heads);

using LightningInput = Recurrence;  // decay [H]; beta undefined
using LightningOutput = RecurrenceOutput;

/// As `recurrence`.
inline LightningOutput lightning_attention(const LightningInput& input) {
  return recurrence(input);
}

}  // namespace hypenet
