// What rows of a step remember, by slot: taken out for tensor code that goes through all rows at
// once, and put back.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <vector>

namespace hypenet {

using torch::Tensor;

/// Of states [S, ...] those of slots int32 [N]: [N, ...], a copy. Padding (a slot < 0) gets slot
/// 0's.
Tensor take_states(const Tensor& states, const Tensor& slots);

/// Makes `rows` [N, ...] the states of their slots, in place. Slots come at most once; padding
/// changes nothing. Never waits for a device.
void put_states(const Tensor& states, const Tensor& slots, const Tensor& rows);

struct SteppedRows {
  Tensor output;               // [n, ...]
  std::vector<Tensor> states;  // after the rows' tokens, [n, ...] each
};
using StepOfRows = std::function<SteppedRows(const std::vector<Tensor>& inputs,
                                             const std::vector<Tensor>& states)>;

/// What `compute` makes of an inference step's rows, inputs [N, ...] each, row n a token of the
/// sequence in slots[n] (int32 [N]), whose states [S, ...] are updated in place. The output has the
/// shape and type of inputs[0]; zeros at padding. On a CPU each row goes alone, in order, so that
/// its bits do not depend on the others and rows of one slot follow each other; on a GPU, which is
/// never waited for, all go at once and each slot comes at most once. No autograd.
Tensor step_rows(const Tensor& slots, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& states, const StepOfRows& compute);

}  // namespace hypenet
