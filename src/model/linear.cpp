// The arithmetic is ops/linear.h and ops/linear_step.h; here are the parameters and their copies.
#include "model/linear.h"

namespace hypenet {
namespace {

/// One output a layer, undefined for empty ones.
std::vector<Tensor> in_places(std::span<const Linear> layers, const std::vector<Tensor>& outputs) {
  std::vector<Tensor> result;
  auto output = outputs.begin();
  for (const Linear& layer : layers) result.push_back(layer ? *output++ : Tensor());
  return result;
}

std::vector<LinearWeights> weights_of(std::span<const Linear> layers) {
  std::vector<LinearWeights> weights;
  for (const Linear& layer : layers) {
    if (layer) weights.push_back(layer->weights);
  }
  return weights;
}

}  // namespace

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weights.weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) weights.bias = register_parameter("bias", torch::zeros({out}));
}

std::vector<Tensor> project(const Tensor& x, std::span<const Linear> layers) {
  for (const Linear& layer : layers) {
    if (layer && layer->on_input) layer->on_input(x);
  }
  return in_places(layers, apply_linears(x, weights_of(layers)));
}

std::vector<Tensor> project_step(const Normed& x, std::span<const Linear> layers) {
  const std::vector<LinearWeights> weights = weights_of(layers);
  LinearStepInput input = x.input();
  input.layers = weights;
  return in_places(layers, linear_step(input));
}

Tensor apply_step(const Tensor& x, const Linear& layer) {
  return linear_step({.x = x, .layers = {&layer->weights, 1}}).front();
}

void add_step(const Tensor& h, const StepOutput& output) {
  LinearStepInput input{.x = output.x,
                        .gate = output.gate,
                        .layers = {&output.projection->weights, 1},
                        .residual = h};
  if (output.norm) input.norm_weight = output.norm->weight, input.eps = output.norm->eps();
  linear_step(input);
}

}  // namespace hypenet
