// The sampling settings of the sequences in the engine's slots.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <span>

#include "engine/options.h"
#include "ops/sampling.h"

namespace hypenet {

/// How an answer's tokens are chosen and told. Throws Error naming the setting, what was expected
/// and found.
void check_sampling(const GenerateOptions& options, int64_t vocab_size);

/// Gives a slot its settings and forgets its draws and counts; the prompt's tokens count as seen.
/// Never waits for a GPU.
void set_sampling(SamplingState& state, int64_t slot, const GenerateOptions& options,
                  std::span<const int32_t> prompt);

}  // namespace hypenet
