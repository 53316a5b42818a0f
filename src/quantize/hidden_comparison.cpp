// Logits come in pieces, as a vocabulary's of many positions would fill the memory.
#include "quantize/hidden_comparison.h"

#include <algorithm>

namespace hypenet {

HiddenComparison compare_hidden(CausalLm& model, const Tensor& a, const Tensor& b,
                                const Tensor& next) {
  constexpr int64_t kMostLogits = int64_t{1} << 24;
  const int64_t piece = std::max<int64_t>(1, kMostLogits / model->config().vocab_size);
  HiddenComparison found;
  PositionComparison& sum = found.sum;
  for (int64_t begin = 0; begin < next.size(0); begin += piece) {
    const int64_t end = std::min(begin + piece, next.size(0));
    const auto logprobs = [&](const Tensor& hidden) {
      return model->logits(hidden.slice(0, begin, end)).to(torch::kFloat32).log_softmax(-1);
    };
    const auto total = [](const Tensor& values) {
      return values.sum(torch::kFloat64).item<double>();
    };
    const Tensor of_a = logprobs(a), of_b = logprobs(b);  // [n, V]
    const Tensor expected = next.slice(0, begin, end).unsqueeze(-1);
    sum.divergence += total((of_a.exp() * (of_a - of_b)).sum(-1));
    sum.agreement += total(of_a.argmax(-1) == of_b.argmax(-1));
    const Tensor loss_a = -of_a.gather(-1, expected), loss_b = -of_b.gather(-1, expected);
    sum.loss_a += total(loss_a), sum.loss_b += total(loss_b);
    found.squares_of_change += total((loss_b - loss_a).square());
  }
  return found;
}

}  // namespace hypenet
