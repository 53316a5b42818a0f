// Attention becomes RWKV-7.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// q, k, v and o_proj, q/k norms where the teacher has them and RoPE are the teacher's, with its
/// key heads. As RADLADS starts them: decays from long to short memory over the channels, deeper
/// layers with more of the long ones; all else that depends on the token begins at nothing (w1, a1,
/// g1 zero; w2, a2 orthogonal by 0.1). g2's columns sum to 2, so that the output gate begins at 1.
extern const TwinRule kRwkv7Twin;

}  // namespace hypenet
