// Attention becomes Native Hybrid Attention.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// q, k, v and o_proj, q/k norms where the teacher has them and RoPE are the teacher's, with its
/// key heads. There are 64 slots or, where 64 is no divisor of d, as many as divide both; g_proj's
/// row for a slot is the mean of d / slots neighbouring rows of its head of k_proj.
extern const TwinRule kNhaTwin;

}  // namespace hypenet
