// The defining equations of attention and log-position scaling, for tests: run them in float64.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet::reference {

using torch::Tensor;

/// As hypenet::causal_attention, by an explicit score matrix and mask.
Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& first_key = {});

}  // namespace hypenet::reference
