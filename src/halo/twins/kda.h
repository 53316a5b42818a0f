// Attention becomes Kimi Delta Attention.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// q, k, v and o_proj copied, k and v heads repeated H / G times in place, q/k norms copied (ones
/// where the teacher has none), RoPE kept, o_norm ones. New projections are U(-1 / sqrt(in), 1 /
/// sqrt(in)), A in (1, 16), and each channel's time step log-uniform in 0.001 .. 0.1.
extern const TwinRule kKdaTwin;

}  // namespace hypenet
