// A candidate is told by its layers, not by the rules that pick it.
#include "halo/pilots.h"

#include <algorithm>

#include "base/error.h"
#include "halo/select.h"

namespace hypenet {
namespace {

/// In the order in which candidates are taken, and importances for the spread.
constexpr SelectionRule kRulesTried[] = {SelectionRule::kLikelihood, SelectionRule::kKl,
                                         SelectionRule::kHalo,       SelectionRule::kRecallDrop,
                                         SelectionRule::kLazy,       SelectionRule::kUniform};

std::string name_of(SelectionRule rule) {
  for (const RuleAbout& entry : selection_rules()) {
    if (entry.rule == rule) return std::string(entry.name);
  }
  throw Error("selection rule: not one of the table");
}

void add(std::vector<PilotCandidate>& candidates, const std::string& rule,
         const std::vector<int64_t>& layers) {
  const auto same =
      std::find_if(candidates.begin(), candidates.end(),
                   [&](const PilotCandidate& candidate) { return candidate.layers == layers; });
  if (same == candidates.end()) {
    candidates.push_back({rule, layers});
  } else {
    same->rules += "+" + rule;
  }
}

}  // namespace

std::vector<PilotCandidate> pilot_candidates(const LayerScores& scores, int64_t keep,
                                             int64_t limit) {
  std::vector<PilotCandidate> candidates;
  std::vector<int64_t> ranked;
  for (const SelectionRule rule : kRulesTried) {
    if (!has_evidence(scores, rule)) continue;
    if (ranked.empty() && rule != SelectionRule::kUniform) {
      ranked = ranked_layers(scores, rule, keep);
    }
    add(candidates, name_of(rule), select_layers(scores, rule, keep));
  }
  if (!ranked.empty()) {
    const int64_t count = resolve_keep(static_cast<int64_t>(scores.layers.size()), keep);
    add(candidates, "spread", spread_layers(ranked, count));
  }
  candidates.resize(std::min(candidates.size(), static_cast<size_t>(limit)));
  return candidates;
}

}  // namespace hypenet
