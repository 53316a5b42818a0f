// Token shift of RWKV: beside a token's input stands that of the token before it. A short
// convolution of two taps, 1 and 0.
#pragma once

#include "model/mixers/token_mixer.h"

namespace hypenet {

/// x [B, T, D], or the nodes of a tree of such rows, each in the place of the token behind it;
/// zeros before a row's first token. Differentiable.
Tensor token_shift(const Tensor& x, const Context& context);

/// The same for a chunk of one sequence, x [1, T, D], and for rows x [N, D] of an inference step.
/// What came before is in this part of `memory`, [slots, D, 1], and is updated. No autograd.
Tensor token_shift(const Tensor& x, const Prefix& prefix, LayerMemory& memory, size_t part);
Tensor token_shift(const Tensor& x, const TokenRows& rows, LayerMemory& memory, size_t part);

}  // namespace hypenet
