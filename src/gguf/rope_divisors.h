// Llama 3's scaling of RoPE: config.json has what the frequencies' divisors are computed of, a GGUF
// file has the divisors (rope_freqs.weight).
#pragma once

#include <vector>

#include "base/json.h"
#include "gguf/gguf_model.h"

namespace hypenet {

/// The divisor of each of the pairs, for `rope_scaling` of a config.json. Throws Error for one that
/// rope_scaling_of would not find in the divisors: factors of frequencies other than 1 and 4.
std::vector<float> rope_divisors(const Json& rope_scaling, double base, int64_t pairs);

/// rope_scaling of config.json; null where the file has no divisors, or all are 1. Throws Error for
/// divisors that are not Llama 3's.
Json rope_scaling_of(const GgufModel& model, double base);

}  // namespace hypenet
