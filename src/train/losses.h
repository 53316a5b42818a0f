// The two losses over the vocabulary, joined with the head's product: [N, V] logits exist only a
// piece of tokens at a time (docs/kernels.md 3). Both work out their gradient on the way forward,
// so backward only scales it.
#pragma once

#include <torch/torch.h>

namespace hypenet {

using torch::Tensor;

/// Mean over tokens of -log softmax(hidden weight^T)[target] (specification 3, stage 3).
/// hidden [N, D] float32 or bfloat16, weight [V, D], targets int64 [N]. `piece` tokens at a time; 0
/// chooses. Returns a float32 scalar (float64 for float64 input), differentiable in hidden and
/// weight.
Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            int64_t piece = 0);

/// Mean over tokens of KL(teacher || student), full vocabulary (specification 3, stage 2).
/// hidden [N, D], weight [V, D] of the student; teacher_hidden [N, D'], teacher_weight [V, D']
/// without gradient.
Tensor linear_kl(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                 const Tensor& teacher_weight, int64_t piece = 0);

}  // namespace hypenet
