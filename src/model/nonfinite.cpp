// A forward that looks at what each layer adds.
#include "model/nonfinite.h"

namespace hypenet {

std::string first_nonfinite_layer(CausalLm& model, const Tensor& ids) {
  const torch::NoGradGuard no_grad;
  const auto is_finite = [](const Tensor& x) { return x.isfinite().all().item<bool>(); };
  const Context context = model->context(ids);
  Residual h = {model->embed(ids)};
  if (!is_finite(h.stream)) return "embedding";
  for (int64_t i = 0; i < model->config().num_hidden_layers; ++i) {
    Block& block = model->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    const Tensor mixed = block->mixer().forward(input, context);
    if (!is_finite(mixed)) return concat("layer ", i, " mixer");
    h = block->finish(sum, mixed);
    if (!is_finite(h.sum())) return concat("layer ", i, " mlp");
  }
  return is_finite(model->finish(h)) ? "" : "final norm";
}

}  // namespace hypenet
