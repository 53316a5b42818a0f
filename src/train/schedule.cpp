// The cosine schedule.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hypenet {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t steps) {
  if (step < config.warmup_steps) {
    return config.peak_lr * static_cast<double>(step + 1) /
           static_cast<double>(config.warmup_steps);
  }
  const int64_t decay_steps = std::max<int64_t>(1, steps - 1 - config.warmup_steps);
  const double progress = std::min(
      1.0, static_cast<double>(step - config.warmup_steps) / static_cast<double>(decay_steps));
  return config.final_lr +
         (config.peak_lr - config.final_lr) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

double rate_share(const OptimizerConfig& config, const std::string& name) {
  double share = 1;
  for (const auto& [part, factor] : config.rates.items()) {
    if (name.find(part) != std::string::npos) share *= factor.get<double>();
  }
  return share;
}

}  // namespace hypenet
