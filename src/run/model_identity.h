// What tells a model folder from another one, and from itself once its weights have changed.
#pragma once

#include <string>

#include "store/checkpoint.h"

namespace hypenet {

/// 16 digits of config.json, of names, types and shapes of all tensors, and of the first and last
/// 4096 bytes of each: without a look at all of them.
std::string model_identity(const Checkpoint& checkpoint);

}  // namespace hypenet
