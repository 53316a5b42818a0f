// The arithmetic is ops/linear.h; here are the parameters and their copies.
#include "model/linear.h"

#include "ops/linear.h"

namespace hypenet {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  return apply_linear(x, weight, bias, compute_weight, compute_bias);
}

std::vector<Tensor> project(const Tensor& x, std::span<const Linear> layers) {
  std::vector<LinearWeights> weights;
  for (const Linear& layer : layers) {
    if (!layer) continue;
    weights.push_back({layer->weight, layer->bias, layer->compute_weight, layer->compute_bias});
  }
  const std::vector<Tensor> outputs = apply_linears(x, weights);
  std::vector<Tensor> result;
  auto output = outputs.begin();
  for (const Linear& layer : layers) result.push_back(layer ? *output++ : Tensor());
  return result;
}

}  // namespace hypenet
