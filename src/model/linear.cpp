// The arithmetic is ops/linear.h and ops/linear_step.h; here are the parameters and their copies.
#include "model/linear.h"

#include "ops/linear.h"

namespace hypenet {
namespace {

/// One output a layer, undefined for empty ones.
std::vector<Tensor> in_places(std::span<const Linear> layers, const std::vector<Tensor>& outputs) {
  std::vector<Tensor> result;
  auto output = outputs.begin();
  for (const Linear& layer : layers) result.push_back(layer ? *output++ : Tensor());
  return result;
}

}  // namespace

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  return apply_linear(x, weight, bias, compute_weight, compute_bias);
}

StepWeights LinearImpl::step_weights() const {
  return {compute_weight.defined() ? compute_weight : weight,
          compute_bias.defined() ? compute_bias : bias};
}

std::vector<Tensor> project(const Tensor& x, std::span<const Linear> layers) {
  std::vector<LinearWeights> weights;
  for (const Linear& layer : layers) {
    if (!layer) continue;
    weights.push_back({layer->weight, layer->bias, layer->compute_weight, layer->compute_bias});
  }
  return in_places(layers, apply_linears(x, weights));
}

std::vector<Tensor> project_step(const Normed& x, std::span<const Linear> layers) {
  std::vector<StepWeights> weights;
  for (const Linear& layer : layers) {
    if (layer) weights.push_back(layer->step_weights());
  }
  return in_places(
      layers,
      linear_step(
          {.x = x.h, .norm_weight = x.norm->weight, .eps = x.norm->eps(), .layers = weights}));
}

void add_step(const Tensor& h, const StepOutput& output) {
  const StepWeights weights = output.projection->step_weights();
  LinearStepInput input{.x = output.x, .gate = output.gate, .layers = {&weights, 1}, .residual = h};
  if (output.norm) input.norm_weight = output.norm->weight, input.eps = output.norm->eps();
  linear_step(input);
}

}  // namespace hypenet
