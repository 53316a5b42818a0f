// What can be quantised, and in which groups: all that is known before any work.
#include <algorithm>
#include <iterator>
#include <numeric>

#include "base/error.h"
#include "model/weights.h"
#include "quantize/linear_places.h"
#include "quantize/quantize.h"

namespace hypenet {
namespace {

std::vector<LinearPlace> all_quantised_linears(CausalLm& model) {
  std::vector<LinearPlace> places;
  for (int64_t i = 0; i < model->config().num_hidden_layers; ++i) {
    std::ranges::copy(quantised_linears(model, i), std::back_inserter(places));
  }
  return places;
}

/// The largest power of two that divides every one of these.
int64_t shared_power_of_two(const std::vector<LinearPlace>& places) {
  int64_t shared = 0;
  for (const LinearPlace& place : places) {
    shared = std::gcd(shared, place.linear->weights.weight.master.size(1));
  }
  return shared & -shared;
}

void check_groups(const std::vector<LinearPlace>& places, int64_t group) {
  for (const LinearPlace& place : places) {
    const int64_t K = place.linear->weights.weight.master.size(1);
    HYPENET_CHECK(K % group == 0, "quantize: group ", group,
                  ": expected a number that divides the inputs of every layer, found ", K,
                  " inputs of ", place.name, " (", shared_power_of_two(places),
                  " divides all of them)");
  }
}

}  // namespace

std::string_view method_name(QuantizeMethod method) {
  switch (method) {
    case QuantizeMethod::kNearest:
      return "nearest";
    case QuantizeMethod::kSearch:
      return "search";
    case QuantizeMethod::kGptq:
      return "gptq";
    case QuantizeMethod::kAwq:
      return "awq";
    case QuantizeMethod::kAwqGptq:
      return "awq-gptq";
  }
  throw Error("quantize: unknown method");
}

int64_t largest_group(const ModelConfig& config) {
  CausalLm model(config, /*random_weights=*/false);
  return shared_power_of_two(all_quantised_linears(model));
}

void check_quantizable(const Checkpoint& checkpoint, const ModelConfig& config,
                       const RoundingForm& form) {
  HYPENET_CHECK(checkpoint.quantisation_method().empty(), checkpoint.config_place(),
                ": expected a model that is not quantised, found one by ",
                checkpoint.quantisation_method());
  HYPENET_CHECK(config.architecture <= Architecture::kHypeNet, checkpoint.config_place(),
                ": expected a Transformer (Qwen3, Qwen2 or Llama) or a HypeNet, found a ",
                architecture_name(config.architecture));
  check_tensors(checkpoint, config);
  CausalLm model(config, /*random_weights=*/false);
  if (form.group > 0) check_groups(all_quantised_linears(model), form.group);
}

}  // namespace hypenet
