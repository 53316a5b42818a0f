// Attention becomes Gated DeltaNet.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// q, k, v and o_proj copied, k and v heads repeated H / G times in place, q/k norms copied (ones
/// where the teacher has none), RoPE kept, o_norm ones. New, as the authors of HypeNet start them:
/// g_proj, a_proj and b_proj by Xavier's uniform rule with gain 2^-2.5, A in (0, 16), time steps
/// log-uniform in 0.001 .. 0.1.
extern const TwinRule kGdnTwin;

}  // namespace hypenet
