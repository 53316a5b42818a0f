// Both ways by one definition. The files keep the divisors and not what they were computed of,
// which is found in them.
#include "gguf/rope_divisors.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace hypenet {
namespace {

/// Llama 3's scaling of frequencies (arXiv:2407.21783, as transformers computes it), with the two
/// factors that all of its published models have.
struct Llama3Scaling {
  static constexpr double kLow = 1, kHigh = 4;
  double factor = 1, context = 8192;  // of the original training

  /// What a frequency, radians a token, is divided by.
  double divisor(double frequency) const {
    const double turns = context * frequency / (2 * std::numbers::pi);
    if (turns > kHigh) return 1;
    if (turns < kLow) return factor;
    const double share = (turns - kLow) / (kHigh - kLow);
    return 1 / ((1 - share) / factor + share);
  }

  /// The context for which a frequency has this divisor, between 1 and the factor.
  double context_of(double frequency, double divisor) const {
    const double share = (1 / divisor - 1 / factor) / (1 - 1 / factor);
    return std::round((kLow + share * (kHigh - kLow)) * 2 * std::numbers::pi / frequency);
  }
};

/// Of pair i, radians a token.
double frequency(double base, size_t i, size_t pairs) {
  return std::pow(base, -static_cast<double>(i) / static_cast<double>(pairs));
}

std::vector<float> values_of(const GgufTensor& tensor) {
  const BlockLayout& layout = block_layout(tensor.type);
  const int64_t count = tensor.shape.front();
  std::vector<float> values(static_cast<size_t>(count));
  expand_blocks(tensor.type, tensor.blocks.data(), count / layout.values, values.data());
  return values;
}

}  // namespace

std::vector<float> rope_divisors(const Json& rope_scaling, double base, int64_t pairs) {
  for (const auto& [key, expected] : {std::pair{"low_freq_factor", Llama3Scaling::kLow},
                                      {"high_freq_factor", Llama3Scaling::kHigh}}) {
    const auto found = rope_scaling.at(key).get<double>();
    HYPENET_CHECK(found == expected, "config.json: rope_scaling: ", key, ": expected ", expected,
                  " (a GGUF file has no place for others), found ", found);
  }
  const Llama3Scaling scaling{
      .factor = rope_scaling.at("factor").get<double>(),
      .context = rope_scaling.at("original_max_position_embeddings").get<double>()};
  std::vector<float> divisors(static_cast<size_t>(pairs));
  for (size_t i = 0; i < divisors.size(); ++i) {
    divisors[i] = static_cast<float>(scaling.divisor(frequency(base, i, divisors.size())));
  }
  return divisors;
}

Json rope_scaling_of(const GgufModel& model, double base) {
  if (model.rope_divisors() == nullptr) return nullptr;
  const std::vector<float> divisors = values_of(*model.rope_divisors());
  if (std::ranges::all_of(divisors, [](float divisor) { return divisor == 1; })) return nullptr;
  const auto frequency_of = [&](size_t i) { return frequency(base, i, divisors.size()); };
  Llama3Scaling scaling{.factor = divisors.back()};
  // One for all pairs: none of them turned in the original context.
  if (divisors.front() == divisors.back()) scaling.context = 1;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const bool tells = divisors[i] > 1 && divisors[i] < divisors.back();
    if (tells) scaling.context = scaling.context_of(frequency_of(i), divisors[i]);
  }
  constexpr double kTolerance = 1e-4;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double expected = scaling.divisor(frequency_of(i));
    HYPENET_CHECK(std::abs(divisors[i] - expected) <= kTolerance * expected, model.path().string(),
                  ": tensor rope_freqs.weight: expected Llama 3's divisors up to ", scaling.factor,
                  ", so ", expected, " for pair ", i, ", found ", divisors[i]);
  }
  constexpr double kLongest = 9007199254740992;  // 2^53
  HYPENET_CHECK(
      scaling.context >= 0 && scaling.context <= kLongest, model.path().string(),
      ": tensor rope_freqs.weight: expected divisors of a context of at most 2^53, found ",
      scaling.context);
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", Llama3Scaling::kLow},
          {"high_freq_factor", Llama3Scaling::kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(scaling.context)}};
}

}  // namespace hypenet
