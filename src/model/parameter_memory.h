// Sizes that no memory here holds are refused before anything is made of them.
#pragma once

#include "model/config.h"

namespace hypenet {

/// The bytes of the model's parameters in float32, but for its vectors; no overflow.
double parameter_bytes(const ModelConfig& config);

/// Throws Error with the sizes unless this process can make the model: memory is to be had for all
/// of its parameters where they are filled, else (they are taken from files one by one) for the
/// largest.
void check_parameters_fit(const ModelConfig& config, bool are_filled);

}  // namespace hypenet
