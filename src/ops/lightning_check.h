// The one check of a LightningInput, made by every form at its door.
#pragma once

#include "ops/lightning.h"

namespace hypenet {

/// Throws Error naming the tensor, what was expected and what was found.
void check_lightning(const LightningInput& input);

}  // namespace hypenet
