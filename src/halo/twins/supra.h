// Attention becomes SUPRA.
#pragma once

#include "halo/twins/twin_rule.h"

namespace hypenet {

/// in_proj has the teacher's q, k and v_proj as its rows, and out_proj is o_proj; RoPE is kept, q/k
/// norms are not. The maps of queries and keys begin as the identity, so that ReLU alone parts the
/// twin's from the teacher's.
extern const TwinRule kSupraTwin;

}  // namespace hypenet
