// The kernels' forms of attention_step, of inputs that were checked and that form_of sends there.
#pragma once

#include "ops/attention_step.h"

namespace hypenet {

/// The input with `dense` of each of its rows, weights and angles, which kernels read so.
template <class Dense>
AttentionStepInput with_each(AttentionStepInput input, const Dense& dense) {
  for (Tensor* x : {&input.q, &input.k, &input.v, &input.q_weight, &input.k_weight,
                    &input.angles.cos, &input.angles.sin, &input.query_scale, &input.gate}) {
    *x = dense(*x);
  }
  return input;
}

/// The kernels' view of such an input, whose output goes to o [N, H d]; without `parts`.
kernels::AttentionStepParams step_params(const AttentionStepInput& input, const Tensor& o);

/// By kernels/cuda, two kernels: [N, H d].
Tensor attention_step_cuda(const AttentionStepInput& input);

/// By kernels/cpu, [N, H d]. Rows of one slot that stand together read each key from memory once.
/// Throws Error when a slot or a position is beyond the page table.
Tensor attention_step_cpu(const AttentionStepInput& input);

}  // namespace hypenet
