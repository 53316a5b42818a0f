// The rule "pilot", its pure part: which sets of attention layers are tried.
// Layers that cover for each other do not show when one at a time is replaced; training a few sets
// for a while shows it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "halo/scores.h"

namespace hypenet {

/// A set to try, and whose pick it is ("halo", "kl+lazy", "spread").
struct PilotCandidate {
  std::string rules;
  std::vector<int64_t> layers;  // ascending
};

/// The picks of the other rules that the scores have evidence for, then a greedy spread
/// (spread_layers) by the first of likelihood, kl, halo, recall-drop and lazy that has any; equal
/// sets are one candidate. At most `limit` of them, in that order.
std::vector<PilotCandidate> pilot_candidates(const LayerScores& scores, int64_t keep,
                                             int64_t limit);

}  // namespace hypenet
