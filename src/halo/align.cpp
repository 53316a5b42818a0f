// One walk over the teacher's layers; the twin of each layer trains as the walk passes it.
#include "halo/align.h"

#include "model/nonfinite.h"
#include "ops/mean_squared_error.h"

namespace hypenet {

AlignObjective::AlignObjective(CausalLm teacher, CausalLm twins)
    : teacher_(std::move(teacher)), twins_(std::move(twins)) {
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
  for (auto& item : twins_->named_parameters()) {
    item.value().set_requires_grad(item.key().find(".self_attn.") != std::string::npos);
  }
}

Tensor AlignObjective::accumulate(const Batch& batch, double weight) {
  const torch::NoGradGuard no_grad;  // for all but the twins
  const int64_t layers = teacher_->config().num_hidden_layers;
  const Context context = teacher_->context(batch.ids);
  Residual h = {teacher_->embed(batch.ids)};
  Tensor parts;  // their sum is the sum of the layers' losses
  for (int64_t i = 0; i < layers; ++i) {
    const auto [sum, input] = teacher_->layer(i)->mixer_input(h);
    const Tensor expected = teacher_->layer(i)->mixer().forward(input, context);
    const Tensor output = twin_output(i, input, context);
    const SquaredError error =
        mean_squared_error(output, expected, weight / static_cast<double>(layers));
    output.backward(error.gradient);
    parts = parts.defined() ? parts + error.parts : error.parts;
    if (i + 1 == layers) break;  // nobody reads what follows
    h = teacher_->layer(i)->finish(sum, expected, context);
  }
  return parts.sum() / static_cast<double>(layers);
}

Tensor AlignObjective::twin_output(int64_t layer, const Tensor& input, const Context& context) {
  const torch::AutoGradMode with_graph(true);
  return twins_->layer(layer)->mixer().forward(input, context);
}

std::string AlignObjective::first_nonfinite(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  std::string first = first_nonfinite_layer(teacher_, batch.ids);
  if (!first.empty()) first = "teacher " + first;
  const Context context = teacher_->context(batch.ids);
  Residual h = {teacher_->embed(batch.ids)};
  for (int64_t i = 0; i < teacher_->config().num_hidden_layers; ++i) {
    const Tensor input = teacher_->layer(i)->mixer_input(h).normed;
    const Tensor output = twins_->layer(i)->mixer().forward(input, context);
    if (first.empty() && !output.isfinite().all().item<bool>())
      first = concat("layer ", i, " twin");
    h = teacher_->layer(i)->forward(h, context);
  }
  return first;
}

}  // namespace hypenet
