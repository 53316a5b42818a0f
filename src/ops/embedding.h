// The rows of a table of embeddings: read from a copy in the compute type, their gradient returned
// in the table's own type.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// Rows `ids` (int64, any shape) of table [V, D]: [..., D] in the type of `compute_table`, a copy
/// of the table that is read in its place, or of the table when that is undefined. Differentiable
/// in the table; its gradient [V, D] is summed in the table's type.
Tensor embedding(const Tensor& table, const Tensor& ids, const Tensor& compute_table = {});

}  // namespace hypenet
