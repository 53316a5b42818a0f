// HALO step S, second half: rules that turn scores into the layers that stay attention
// (docs/halo.md, "Choosing the attention layers").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "halo/scores.h"

namespace hypenet {

enum class SelectionRule { kHalo, kRecallDrop, kUniform, kLikelihood, kKl, kLazy, kPilot };

/// A rule's name, what it ranks layers by, and what it reads.
struct RuleAbout {
  SelectionRule rule;
  std::string_view name, about;
  std::vector<Evidence> evidence;
};

/// All rules.
const std::vector<RuleAbout>& selection_rules();

/// "halo, recall-drop, ... or pilot"
std::string selection_rule_names();

/// Throws Error naming the choices.
SelectionRule parse_selection_rule(std::string_view name);

/// Whether the scores hold all that the rule reads.
bool has_evidence(const LayerScores& scores, SelectionRule rule);

/// Throws Error naming the rule and `place` unless has_evidence.
void check_evidence(const LayerScores& scores, SelectionRule rule, std::string_view place);

/// The importance of every layer; R, C are means of recall and reasoning, a star marks mean
/// log-likelihoods of right answers:
///   halo         min(50, (max R - R_i) / (max C - C_i + 1e-10))
///   recall-drop  R_original - R_i
///   uniform      1 for the evenly spread layers, else 0
///   likelihood   as halo, of R* and C*
///   kl           KL(teacher || teacher with layer i replaced), mean over held-out text
///   lazy         1 - the share of attention on first and recent tokens
///   pilot        1 for the layers of the best pilot, else 0
/// Throws Error naming the rule when its evidence is missing.
std::vector<double> layer_importances(const LayerScores& scores, SelectionRule rule, int64_t keep);

/// All layers, the most important first. Of equal importances the layer whose loss costs more
/// recall comes first where the rule reads recall, then the lower layer.
std::vector<int64_t> ranked_layers(const LayerScores& scores, SelectionRule rule, int64_t keep);

/// The first `keep` of them (0: floor(L / 4)), ascending; for pilot those of the best one.
std::vector<int64_t> select_layers(const LayerScores& scores, SelectionRule rule, int64_t keep);

/// `keep`, or floor(L / 4) for 0. Throws Error for more than L layers.
int64_t resolve_keep(int64_t layers, int64_t keep);

/// One layer at the end of each of `keep` equal stretches: 3, 7, 11 ... when every fourth is kept.
std::vector<int64_t> uniform_layers(int64_t layers, int64_t keep);

/// The first `keep` of ranked layers of which no two are neighbours, as far as there are such
/// layers, ascending: neighbours can stand in for each other.
std::vector<int64_t> spread_layers(const std::vector<int64_t>& ranked, int64_t keep);

/// Best first: of those whose recall is within the standard error of the difference from the best
/// recall, the one of the least KL; then likewise among the rest.
std::vector<PilotResult> ranked_pilots(std::vector<PilotResult> pilots);

}  // namespace hypenet
