// The learning rate over a stage, as published: linear warm-up, then half a cosine.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace hypenet {

/// AdamW, its schedule and clipping; defaults as published for every stage of HALO.
struct OptimizerConfig {
  double peak_lr = 1e-3, final_lr = 1e-5;
  int64_t warmup_steps = 50;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0;      // of all but mixers' own parameters (model/weights.h)
  double clip = 1;              // largest norm of the whole gradient; 0 turns clipping off
  Json rates = Json::object();  // of parameters with these parts of names: {"mlp": 0.1}, shares of
                                // the schedule's rate
  template <class Visitor>
  void visit(Visitor&& field) {
    field("peak_lr", peak_lr);
    field("final_lr", final_lr);
    field("warmup_steps", warmup_steps);
    field("beta1", beta1);
    field("beta2", beta2);
    field("epsilon", epsilon);
    field("weight_decay", weight_decay);
    field("clip", clip);
    field("rates", rates);
  }
};

/// The rate of step `step` (0-based) of `steps`: peak * (step + 1) / warmup during warm-up, then
/// final + (peak - final) * (1 + cos(pi * progress)) / 2, which ends at final on the last step.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t steps);

/// What the rate is multiplied by for a parameter of this name: 1, or the product of all
/// config.rates whose part is in the name.
double rate_share(const OptimizerConfig& config, const std::string& name);

}  // namespace hypenet
