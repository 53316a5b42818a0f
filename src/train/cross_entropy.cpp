// Cross-entropy through the piecewise loss, and the search for a layer that overflows.
#include "train/cross_entropy.h"

#include "train/losses.h"

namespace hypenet {

Tensor CrossEntropyObjective::accumulate(const Batch& batch, double weight) {
  const Tensor hidden = model_->hidden(batch.ids).flatten(0, 1);
  const LossGradient result =
      linear_cross_entropy(hidden, model_->head(), batch.targets.flatten(), {.factor = weight});
  hidden.backward(result.hidden_gradient);
  return result.loss;
}

std::string CrossEntropyObjective::first_nonfinite(const Batch& batch) {
  return first_nonfinite_layer(model_, batch.ids);
}

std::string first_nonfinite_layer(CausalLm& model, const Tensor& ids) {
  const torch::NoGradGuard no_grad;
  const auto is_finite = [](const Tensor& x) { return x.isfinite().all().item<bool>(); };
  const Step step = model->step(ids);
  Residual h = {model->embed(ids)};
  if (!is_finite(h.stream)) return "embedding";
  for (int64_t i = 0; i < model->config().num_hidden_layers; ++i) {
    Block& block = model->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    const Tensor mixed = block->mixer().forward(input, step);
    if (!is_finite(mixed)) return concat("layer ", i, " mixer");
    h = block->finish(sum, mixed);
    if (!is_finite(h.sum())) return concat("layer ", i, " mlp");
  }
  return is_finite(model->finish(h)) ? "" : "final norm";
}

NamedTensors trainable_parameters(CausalLm& model) {
  NamedTensors parameters;
  for (const auto& item : model->named_parameters()) {
    if (item.value().requires_grad()) parameters.emplace_back(item.key(), item.value());
  }
  return parameters;
}

}  // namespace hypenet
