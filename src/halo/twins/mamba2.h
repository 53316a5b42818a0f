// Attention becomes Mamba-2.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// in_proj has the teacher's v, k and q_proj as its rows of x, B and C, and out_proj is o_proj; q/k
/// norms, where the teacher has them, and RoPE stand behind the convolution. The start is near the
/// teacher: the convolution passes its input, without SiLU, the output gate is open (z rows zero,
/// z_bias 1.278), D is zero. Rows of dt are U(-1 / sqrt(D), 1 / sqrt(D)), A in (1, 16), time steps
/// log-uniform in 0.001 .. 0.1.
extern const TwinRule kMamba2Twin;

}  // namespace hypenet
