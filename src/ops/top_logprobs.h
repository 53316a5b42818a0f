// The likeliest tokens of rows of logits, beside the chosen ones.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/sampling.h"

namespace hypenet {

/// [N, kMostTop]: of each row as many as its slot's settings ask for, the likeliest first and of
/// equals the first token; -1 and 0 behind them.
struct TopLogprobs {
  Tensor ids;       // int32
  Tensor logprobs;  // float32: log softmax of the raw logits
};

/// Of the logits [N, V] float32 and slots [N] from which sample_tokens made `tokens`; a token has
/// the same bits here as there. Rows that are padding or chose nothing have none. Never waits for a
/// GPU; a row does not depend on others. Throws Error for shapes, types or devices that disagree.
TopLogprobs top_logprobs(const Tensor& logits, const Tensor& slots, const SamplingState& state,
                         const SampledTokens& tokens);

}  // namespace hypenet
