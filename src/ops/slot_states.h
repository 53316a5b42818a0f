// What rows of a step remember, by slot: taken out for tensor code that goes through all rows at
// once, and put back.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

/// Of states [S, ...] those of slots int32 [N]: [N, ...], a copy. Padding (a slot < 0) gets slot
/// 0's.
Tensor take_states(const Tensor& states, const Tensor& slots);

/// Makes `rows` [N, ...] the states of their slots, in place. Slots come at most once; padding
/// changes nothing. Never waits for a device.
void put_states(const Tensor& states, const Tensor& slots, const Tensor& rows);

}  // namespace hypenet
