// What folders are told apart by whose weights are the same.
#pragma once

#include "base/json.h"
#include "model/config.h"

namespace hypenet {

/// All of the config that decides what a forward computes, of every architecture: the keys of the
/// model, those of its mixers, and what published hybrids have beside them. Models with equal facts
/// and equal weights compute alike.
Json forward_facts(const ModelConfig& config);

}  // namespace hypenet
