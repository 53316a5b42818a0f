// Losses of whole rows of logits and their gradients, in one step and without autograd: the pieces
// that train/losses.h is made of (docs/kernels.md).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

struct LogitsLoss {
  Tensor loss;      // summed over the rows; a scalar, float32 (float64 for float64 logits)
  Tensor gradient;  // scale * dloss/dlogits [n, V] in the logits' type
};

/// Sum of -log softmax(logits)[target] over rows. logits [n, V], n > 0, are spent: their memory may
/// hold the gradient. targets int64 [n], each in 0 .. V-1. Softmax and sums in float32 or float64.
LogitsLoss cross_entropy(const Tensor& logits, const Tensor& targets, double scale);

/// Sum over rows of KL(softmax(teacher) || softmax(logits)). Both [n, V], n > 0, of one type; both
/// are spent.
LogitsLoss kl_divergence(const Tensor& logits, const Tensor& teacher, double scale);

}  // namespace hypenet
