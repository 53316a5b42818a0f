// The rules: a table of what each reads, and a formula each.
#include "halo/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/alternatives.h"
#include "base/error.h"

namespace hypenet {
namespace {

constexpr double kHighestRatio = 50;

const RuleAbout& about(SelectionRule rule) {
  const auto& rules = selection_rules();
  return *std::find_if(rules.begin(), rules.end(),
                       [&](const RuleAbout& entry) { return entry.rule == rule; });
}

std::vector<double> means(const LayerScores& scores, Evidence evidence) {
  std::vector<double> values;
  values.reserve(scores.layers.size());
  for (const auto& row : scores.layers) values.push_back(scores.mean(row, evidence));
  return values;
}

/// HALO's ratio: what replacing a layer costs in recall, against what it costs in reasoning.
std::vector<double> ratio_importances(const LayerScores& scores, Evidence recall_kind,
                                      Evidence reasoning_kind) {
  const auto recall = means(scores, recall_kind), reasoning = means(scores, reasoning_kind);
  const double best_recall = *std::max_element(recall.begin(), recall.end());
  const double best_reasoning = *std::max_element(reasoning.begin(), reasoning.end());
  std::vector<double> importances;
  importances.reserve(recall.size());
  for (size_t i = 0; i < recall.size(); ++i) {
    const double cost = best_reasoning - reasoning[i] + 1e-10;
    importances.push_back(std::min(kHighestRatio, (best_recall - recall[i]) / cost));
  }
  return importances;
}

/// base - value of every layer.
std::vector<double> below(double base, std::vector<double> values) {
  for (double& value : values) value = base - value;
  return values;
}

std::vector<double> members(size_t layers, const std::vector<int64_t>& chosen) {
  std::vector<double> importances(layers, 0.0);
  for (const int64_t layer : chosen) {
    HYPENET_CHECK(layer < static_cast<int64_t>(layers), "pilots: layers: expected layers below ",
                  layers, ", found ", layer);
    importances[static_cast<size_t>(layer)] = 1;
  }
  return importances;
}

/// The recall that a rule reads, which tells layers of equal importance apart.
std::optional<Evidence> recall_of(SelectionRule rule) {
  for (const Evidence evidence : about(rule).evidence) {
    if (evidence == Evidence::kRecall || evidence == Evidence::kRecallLikelihood) return evidence;
  }
  return std::nullopt;
}

}  // namespace

const std::vector<RuleAbout>& selection_rules() {
  static const std::vector<RuleAbout> rules = {
      {SelectionRule::kHalo,
       "halo",
       "loss of recall against loss of reasoning",
       {Evidence::kRecall, Evidence::kReasoning}},
      {SelectionRule::kRecallDrop, "recall-drop", "loss of recall", {Evidence::kRecall}},
      {SelectionRule::kUniform, "uniform", "evenly spread", {}},
      {SelectionRule::kLikelihood,
       "likelihood",
       "halo's ratio of log-likelihoods",
       {Evidence::kRecallLikelihood, Evidence::kReasoningLikelihood}},
      {SelectionRule::kKl, "kl", "divergence from the teacher", {Evidence::kDivergence}},
      {SelectionRule::kLazy,
       "lazy",
       "attention elsewhere than on first and recent tokens",
       {Evidence::kLaziness}},
      {SelectionRule::kPilot,
       "pilot",
       "short training of the other rules' picks",
       {Evidence::kPilots}}};
  return rules;
}

std::string selection_rule_names() {
  std::vector<std::string> names;
  for (const RuleAbout& rule : selection_rules()) names.emplace_back(rule.name);
  return alternatives(names);
}

SelectionRule parse_selection_rule(std::string_view name) {
  for (const RuleAbout& entry : selection_rules()) {
    if (entry.name == name) return entry.rule;
  }
  throw Error(
      concat("selection rule: expected ", selection_rule_names(), ", found \"", name, "\""));
}

bool has_evidence(const LayerScores& scores, SelectionRule rule) {
  const auto& needed = about(rule).evidence;
  return std::all_of(needed.begin(), needed.end(),
                     [&](Evidence evidence) { return scores.has(evidence); });
}

void check_evidence(const LayerScores& scores, SelectionRule rule, std::string_view place) {
  for (const Evidence evidence : about(rule).evidence) {
    HYPENET_CHECK(scores.has(evidence), "selection rule ", about(rule).name, ": ", place,
                  ": expected ", describe(evidence), ", found none");
  }
}

int64_t resolve_keep(int64_t layers, int64_t keep) {
  HYPENET_CHECK(keep >= 0 && keep <= layers, "keep: expected 0 (a quarter of the layers) to ",
                layers, ", found ", keep);
  return keep == 0 ? layers / 4 : keep;
}

std::vector<int64_t> uniform_layers(int64_t layers, int64_t keep) {
  std::vector<int64_t> chosen;
  chosen.reserve(static_cast<size_t>(keep));
  for (int64_t i = 1; i <= keep; ++i) chosen.push_back(i * layers / keep - 1);
  return chosen;
}

std::vector<double> layer_importances(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  check_evidence(scores, rule, "the scores");
  const auto layers = static_cast<int64_t>(scores.layers.size());
  switch (rule) {
    case SelectionRule::kHalo:
      return ratio_importances(scores, Evidence::kRecall, Evidence::kReasoning);
    case SelectionRule::kRecallDrop:
      return below(scores.recall(scores.original), means(scores, Evidence::kRecall));
    case SelectionRule::kUniform:
      return members(scores.layers.size(), uniform_layers(layers, resolve_keep(layers, keep)));
    case SelectionRule::kLikelihood:
      return ratio_importances(scores, Evidence::kRecallLikelihood, Evidence::kReasoningLikelihood);
    case SelectionRule::kKl:
      return means(scores, Evidence::kDivergence);
    case SelectionRule::kLazy:
      return below(1, means(scores, Evidence::kLaziness));
    case SelectionRule::kPilot:
      return members(scores.layers.size(), ranked_pilots(scores.pilots).front().layers);
  }
  throw Error("selection rule: not one of the table");
}

std::vector<int64_t> ranked_layers(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  const std::vector<double> importances = layer_importances(scores, rule, keep);
  std::vector<int64_t> order(importances.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  // Layers at the ratio's cap of 50 are told apart by what the rule is after, the recall they
  // carry.
  const auto recall = recall_of(rule);
  const auto rank = [&](int64_t layer) {
    const auto i = static_cast<size_t>(layer);
    return std::pair(importances[i], recall ? -scores.mean(scores.layers[i], *recall) : 0.0);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  return order;
}

std::vector<int64_t> select_layers(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  const int64_t count = resolve_keep(static_cast<int64_t>(scores.layers.size()), keep);
  std::vector<int64_t> chosen = ranked_layers(scores, rule, keep);
  if (rule == SelectionRule::kPilot) return ranked_pilots(scores.pilots).front().layers;
  chosen.resize(static_cast<size_t>(count));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<PilotResult> ranked_pilots(std::vector<PilotResult> pilots) {
  for (auto place = pilots.begin(); place != pilots.end(); ++place) {
    const auto best = std::max_element(
        place, pilots.end(),
        [](const PilotResult& a, const PilotResult& b) { return a.recall < b.recall; });
    auto chosen = best;
    for (auto pilot = place; pilot != pilots.end(); ++pilot) {
      const double error = std::hypot(best->recall_error, pilot->recall_error);
      if (pilot->recall >= best->recall - error && pilot->kl < chosen->kl) chosen = pilot;
    }
    std::rotate(place, chosen, chosen + 1);
  }
  return pilots;
}

std::vector<int64_t> spread_layers(const std::vector<int64_t>& ranked, int64_t keep) {
  std::vector<int64_t> chosen, left;
  for (const int64_t layer : ranked) {
    const bool has_neighbour = std::any_of(
        chosen.begin(), chosen.end(), [&](int64_t other) { return std::abs(other - layer) == 1; });
    (has_neighbour ? left : chosen).push_back(layer);
  }
  chosen.insert(chosen.end(), left.begin(), left.end());
  chosen.resize(static_cast<size_t>(keep));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace hypenet
