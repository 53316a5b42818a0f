// The rows of a table of embeddings: read from a copy in the compute type, their gradient returned
// in the table's own type.
#pragma once

#include "ops/weight.h"

namespace hypenet {

/// Rows `ids` (int64, any shape) of table [V, D]: [..., D] in the type of what is read.
/// (float32 of a packed one). Differentiable in the master; its gradient [V, D] is summed in the
/// master's type.
Tensor embedding(const Weight& table, const Tensor& ids);

}  // namespace hypenet
