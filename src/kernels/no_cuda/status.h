// The answer of every device kernel in a program without them.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels {

constexpr Status kNoCuda{"this program was built without CUDA kernels"};

}  // namespace hypenet::kernels
