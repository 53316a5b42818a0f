// The sampling settings of the sequences in the engine's slots.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <string>

#include "engine/options.h"
#include "ops/sampling.h"

namespace hypenet {

/// The name of a setting as its source spells it: "--top-p", or "file: top_p".
using OptionNaming = std::function<std::string(const char* key)>;

/// Throws Error naming a setting that is one number, what was expected and found.
void check_sampling_numbers(const SamplingOptions& options, const OptionNaming& name = {});

/// The same for all settings.
void check_sampling(const SamplingOptions& options, int64_t vocab_size);

/// Gives a slot its settings and forgets its draws; the prompt's tokens count as seen. Never waits
/// for a GPU.
void set_sampling(SamplingState& state, int64_t slot, const SamplingOptions& options,
                  std::span<const int32_t> prompt);

}  // namespace hypenet
