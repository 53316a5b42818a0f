// A forward that looks at what each layer adds.
#include "model/nonfinite.h"

namespace hypenet {

std::string first_nonfinite_layer(CausalLm& model, const Tensor& ids) {
  const torch::NoGradGuard no_grad;
  std::string first;
  const auto look = [&](const Tensor& x, const std::string& part) {
    if (first.empty() && !x.isfinite().all().item<bool>()) first = part;
  };
  const Context context = model->context(ids);
  Residual h = {model->embed(ids)};
  look(h.stream, "embedding");
  // To the end whatever is found: several ranks go through the layers together.
  for (int64_t i = 0; i < model->config().num_hidden_layers; ++i) {
    Block& block = model->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    const Tensor mixed = block->mixer().forward(input, context);
    look(mixed, concat("layer ", i, " mixer"));
    h = block->finish(sum, mixed, context);
    look(h.sum(), concat("layer ", i, " mlp"));
  }
  look(model->finish(h), "final norm");
  return first;
}

}  // namespace hypenet
