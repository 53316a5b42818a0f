// Attention becomes lightning attention.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// q, k, v and o_proj copied, k and v heads repeated H / G times in place, q/k norms copied (ones
/// where the teacher has none), o_norm ones, z_proj new.
extern const TwinRule kLightningTwin;

}  // namespace hypenet
