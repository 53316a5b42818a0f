// The two losses over the vocabulary, joined with the head's product: [N, V] logits exist only a
// piece of tokens at a time (docs/kernels.md). Each works out its gradients at once: there is no
// graph behind them.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/linear.h"

namespace hypenet {

using torch::Tensor;

/// A loss and what to go on backward with: hidden.backward(hidden_gradient). The gradient of the
/// head's weight is in its .grad already, unless the weight needs none.
struct LossGradient {
  Tensor loss;             // mean over tokens: a scalar, float32 (float64 for float64 input)
  Tensor hidden_gradient;  // of factor * loss, hidden's shape and type
};

struct LossOptions {
  double factor = 1;  // gradients are those of factor * loss
  int64_t piece = 0;  // tokens at a time; 0 chooses
};

/// Mean over tokens of -log softmax(hidden weight^T)[target], the loss of stage 3 on plain text.
/// hidden [N, D] float32 or bfloat16, head.weight [V, D], targets int64 [N]. Adds the weight's
/// gradient to head.weight.grad, float32 on a GPU whatever hidden's type.
LossGradient linear_cross_entropy(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                  const LossOptions& options = {});

/// Tokens whose next one is to be learnt from the text and not from the teacher.
struct KnownTargets {
  Tensor where;    // bool [N]; undefined: none
  Tensor targets;  // int64 [N], each in 0 .. V-1, also where `where` is not set
};

/// Mean over tokens of KL(teacher || student), full vocabulary: the loss of stage 2.
/// hidden [N, D], head.weight [V, D] of the student, as above; teacher_hidden [N, D'] of the same
/// type, teacher_head.weight [V, D'], both without gradient. Where a target is known, the teacher
/// is replaced by certainty of it: the term is -log softmax(hidden weight^T)[target].
LossGradient linear_kl(const Tensor& hidden, const Weight& head, const Tensor& teacher_hidden,
                       const Weight& teacher_head, const KnownTargets& known = {},
                       const LossOptions& options = {});

}  // namespace hypenet
