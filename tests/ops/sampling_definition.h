// Sampling as it is defined, written plainly in float64, and the state of slots that sample so.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/gumbel.h"
#include "ops/sampling.h"

namespace hypenet {

/// The settings of one slot.
struct Settings {
  float temperature = 0;
  int32_t top_k = 0;
  float top_p = 1, min_p = 0, penalty = 1;
  int64_t seed = 0;
  int32_t draws = 0;
  std::vector<int32_t> seen = {};
  std::vector<std::pair<int32_t, float>> bias = {};
  float presence = 0, frequency = 0;
  std::map<int32_t, int> counts = {};  // kept with either of these
  std::vector<int32_t> bans = {};      // hold before min_tokens
  int32_t min_tokens = 0;
  std::optional<std::vector<bool>> mask = {};  // of every token: whether it may come

  bool has_counts() const { return presence != 0 || frequency != 0; }
};

constexpr int64_t kBiases = 5, kBans = 3;

inline void set(SamplingState& state, int64_t slot, const Settings& settings) {
  set_settings(state, slot,
               {.seed = settings.seed,
                .temperature = settings.temperature,
                .top_k = settings.top_k,
                .top_p = settings.top_p,
                .min_p = settings.min_p,
                .repetition_penalty = settings.penalty,
                .presence_penalty = settings.presence,
                .frequency_penalty = settings.frequency,
                .min_tokens = settings.min_tokens});
  state.draws[slot] = settings.draws;
  auto seen = state.seen.accessor<int32_t, 2>();
  for (const int32_t token : settings.seen) {
    seen[slot][token / 32] |= static_cast<int32_t>(1U << (token % 32));
  }
  // From the back: entries need not begin with the first.
  for (size_t i = 0; i < settings.bias.size(); ++i) {
    state.bias_ids[slot][kBiases - 1 - static_cast<int64_t>(i)] = settings.bias[i].first;
    state.bias[slot][kBiases - 1 - static_cast<int64_t>(i)] = settings.bias[i].second;
  }
  for (size_t i = 0; i < settings.bans.size(); ++i) {
    state.ban_ids[slot][kBans - 1 - static_cast<int64_t>(i)] = settings.bans[i];
  }
  if (!settings.has_counts()) return;
  count_tokens(state, slot);
  for (const auto& [token, count] : settings.counts) state.counts[slot][token] = count;
}

inline SamplingState moved(const SamplingState& state, torch::Device device) {
  return {.settings = state.settings.to(device),
          .draws = state.draws.to(device),
          .seen = state.seen.to(device),
          .bias_ids = state.bias_ids.to(device),
          .bias = state.bias.to(device),
          .ban_ids = state.ban_ids.to(device),
          .counts = state.counts.defined() ? state.counts.to(device) : Tensor()};
}

/// A slot for each of `settings`.
inline SamplingState make_state(const std::vector<Settings>& settings, int64_t V,
                                torch::Device device) {
  SamplingState state =
      make_sampling_state(static_cast<int64_t>(settings.size()), V, kBiases, torch::kCPU, kBans);
  for (size_t i = 0; i < settings.size(); ++i) set(state, static_cast<int64_t>(i), settings[i]);
  return moved(state, device);
}

/// The masks of rows that have slots `slots`.
inline RowMasks make_masks(const std::vector<Settings>& settings, const std::vector<int32_t>& slots,
                           int64_t V, torch::Device device) {
  const int64_t words = (V + 31) / 32;
  std::vector<int32_t> all, rows;
  int32_t masks = 0;
  for (const int32_t slot : slots) {
    const bool has_mask = slot >= 0 && settings[slot].mask;
    rows.push_back(has_mask ? masks++ : -1);
    if (!has_mask) continue;
    const size_t begin = all.size();
    all.resize(begin + words);
    for (int64_t v = 0; v < V; ++v) {
      if ((*settings[slot].mask)[v]) all[begin + v / 32] |= static_cast<int32_t>(1U << (v % 32));
    }
  }
  if (masks == 0) return {};
  return {.words = torch::tensor(all, torch::kInt32).view({masks, words}).to(device),
          .rows = torch::tensor(rows, torch::kInt32).to(device)};
}

/// (max - processed logit) / temperature in float64; the temperature of a greedy row counts as 1.
inline std::vector<double> defined_distances(const float* logits, int64_t V,
                                             const Settings& settings) {
  std::vector<double> x(logits, logits + V);
  for (const int32_t token : settings.seen) {
    x[token] = x[token] > 0 ? x[token] / settings.penalty : x[token] * settings.penalty;
  }
  if (settings.has_counts()) {
    for (const auto& [token, count] : settings.counts) {
      x[token] -= settings.frequency * count + settings.presence;
    }
  }
  for (const auto& [token, bias] : settings.bias) x[token] += bias;
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  for (int64_t v = 0; v < V && settings.mask; ++v) {
    if (!(*settings.mask)[v]) x[v] = kNever;
  }
  if (settings.draws < settings.min_tokens) {
    for (const int32_t token : settings.bans) x[token] = kNever;
  }
  const double max = *std::ranges::max_element(x);
  const double temperature = settings.temperature == 0 ? 1 : settings.temperature;
  for (double& value : x) value = (max - value) / temperature;
  return x;
}

/// The largest distance that the filters leave, when rounding moves them by `slack` nats or shares:
/// outward when positive; inward, but for equals, when negative.
inline double defined_limit(const std::vector<double>& distances, const Settings& settings,
                            double slack) {
  const bool has_top_k = settings.top_k > 0 && settings.top_k < std::ssize(distances);
  std::vector<double> sorted;
  if (has_top_k || settings.top_p < 1) {
    sorted = distances;
    std::ranges::sort(sorted);
  }
  const double outward = std::max(slack, 0.0);
  double limit = std::numeric_limits<double>::infinity();
  if (has_top_k) limit = sorted[settings.top_k - 1] + outward;
  if (settings.top_p < 1) {
    const auto end = std::ranges::upper_bound(sorted, limit);
    double total = 0, sum = 0;
    for (auto d = sorted.begin(); d != end; ++d) total += std::exp(-*d);
    auto last = sorted.begin();
    while ((sum += std::exp(-*last)) < (settings.top_p + slack) * total && last + 1 != end) ++last;
    limit = std::min(limit, *last + outward);
  }
  if (settings.min_p > 0) limit = std::min(limit, -std::log(settings.min_p) + slack);
  return std::max(limit, 0.0);
}

struct Choice {
  int32_t id = -1;
  double margin = 0;  // between the best score and the next
};

inline Choice defined_draw(const std::vector<double>& distances, const Settings& settings,
                           double slack) {
  const double limit = defined_limit(distances, settings, slack);
  const uint64_t key = kernels::draw_key(settings.seed, settings.draws);
  Choice choice;
  double best = -std::numeric_limits<double>::infinity(), second = best;
  for (size_t v = 0; v < distances.size(); ++v) {
    if (distances[v] > limit) continue;
    const double u = kernels::draw_uniform(key, static_cast<int32_t>(v));
    const double score = -distances[v] - std::log(-std::log1p(-u));
    second = std::max(second, std::min(best, score));
    if (score > best) best = score, choice.id = static_cast<int32_t>(v);
  }
  choice.margin = best - second;
  return choice;
}

/// The definition's token; -1 where rounding to float32 may decide.
inline int32_t defined_choice(const float* logits, int64_t V, const Settings& settings) {
  const std::vector<double> distances = defined_distances(logits, V, settings);
  if (settings.temperature == 0) {
    const auto first = std::ranges::find(distances, 0.0) - distances.begin();
    const auto near = std::ranges::count_if(distances, [](double d) { return d < 1e-5; });
    const auto equal = std::ranges::count(distances, 0.0);
    return near == equal ? static_cast<int32_t>(first) : -1;
  }
  const Choice few = defined_draw(distances, settings, -3e-6);
  const Choice many = defined_draw(distances, settings, 3e-6);
  const bool is_decided = few.id == many.id && many.margin > 1e-4;
  return is_decided ? many.id : -1;
}

inline double defined_logprob(const float* logits, int64_t V, int32_t id) {
  double sum = 0;
  for (int64_t v = 0; v < V; ++v) sum += std::exp(static_cast<double>(logits[v]) - logits[id]);
  return -std::log(sum);
}

}  // namespace hypenet
