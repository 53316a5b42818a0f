// Choosing the next token from logits.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/random.h"

namespace hypenet {

struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  uint64_t seed = 0;
};

/// The next token from logits [V]: the arg max (the first of equals), or a draw from softmax(logits
/// / temperature).
int32_t sample(const torch::Tensor& logits, const SamplingOptions& options, Random& random);

}  // namespace hypenet
