// The composition of the ops for many tokens, with weights widened to float32.
#include "ops/linear_step_cpu.h"

#include <algorithm>

#include "ops/gating.h"
#include "ops/norm.h"
#include "ops/types.h"

namespace hypenet {
namespace {

bool is_weight(const Tensor& x) {
  return !x.defined() || (x.is_cpu() && (x.scalar_type() == torch::kFloat32 ||
                                         x.scalar_type() == torch::kBFloat16));
}

bool is_row(const Tensor& x) { return !x.defined() || suits_cpu_kernels({x}); }

}  // namespace

bool suits_linear_step_cpu(const LinearStepInput& input) {
  return suits_cpu_kernels({input.x}) && is_row(input.gate) && is_row(input.residual) &&
         is_weight(input.norm_weight) &&
         std::ranges::all_of(input.layers, [](const StepWeights& layer) {
           return is_weight(layer.weight) && is_weight(layer.bias);
         });
}

std::vector<Tensor> linear_step_cpu(const LinearStepInput& input) {
  Tensor x = input.x;
  if (input.norm_weight.defined()) {
    x = rms_norm(x, input.norm_weight.to(torch::kFloat32), input.eps);
  }
  if (input.gate.defined()) x = sigmoid_gate(x, input.gate);
  std::vector<Tensor> outputs;
  for (const StepWeights& layer : input.layers) {
    Tensor y = torch::mm(x, layer.weight.to(torch::kFloat32).t());
    if (layer.bias.defined()) y += layer.bias;
    outputs.push_back(std::move(y));
  }
  if (input.is_swiglu) return {swiglu(outputs[0], outputs[1])};
  if (!input.residual.defined()) return outputs;
  Tensor(input.residual).add_(outputs[0]);
  return {};
}

}  // namespace hypenet
