// Divergence, agreement and loss of two models, in pieces of the logits.
#include "engine/compare.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/token_ids.h"

namespace hypenet {
namespace {

// Logits of one model held at once, and tokens of a batch of windows.
constexpr int64_t kMostLogits = int64_t{1} << 24, kBatchTokens = 8192;

torch::Device device_of(CausalLm& model) { return model->head_weight().device(); }

/// The four measures [4, N] float32 on the CPU, of hidden states [N, D] and the text's next tokens
/// [N].
Tensor compare_positions(CausalLm& a, CausalLm& b, const Tensor& hidden_a, const Tensor& hidden_b,
                         const Tensor& next) {
  const int64_t piece = std::max<int64_t>(1, kMostLogits / a->config().vocab_size);
  std::vector<Tensor> pieces;
  for (int64_t begin = 0; begin < next.size(0); begin += piece) {
    const int64_t end = std::min(begin + piece, next.size(0));
    const auto logprobs = [&](CausalLm& model, const Tensor& hidden) {
      return model->logits(hidden.slice(0, begin, end)).to(torch::kFloat32).log_softmax(-1);
    };
    const Tensor of_a = logprobs(a, hidden_a);  // [n, V]
    const Tensor of_b = logprobs(b, hidden_b).to(of_a.device());
    const Tensor expected = next.slice(0, begin, end).unsqueeze(-1);
    pieces.push_back(torch::stack({(of_a.exp() * (of_a - of_b)).sum(-1),
                                   (of_a.argmax(-1) == of_b.argmax(-1)).to(torch::kFloat32),
                                   -of_a.gather(-1, expected).squeeze(-1),
                                   -of_b.gather(-1, expected).squeeze(-1)}));
  }
  return torch::cat(pieces, 1).to(torch::kCPU);
}

/// Sums [4, T] float64 over a batch of windows.
Tensor compare_batch(CausalLm& a, CausalLm& b, std::span<const std::vector<int32_t>> windows) {
  std::vector<Tensor> rows;
  rows.reserve(windows.size());
  for (const auto& window : windows) rows.push_back(ids_tensor(window, device_of(a)));
  const Tensor tokens = torch::stack(rows);  // [B, T + 1]
  const auto batch = tokens.size(0), length = tokens.size(1) - 1;
  const Tensor ids = tokens.slice(1, 0, length);
  const Tensor hidden_a = a->hidden(ids).flatten(0, 1);
  const Tensor hidden_b = b->hidden(ids.to(device_of(b))).flatten(0, 1);
  const Tensor next = tokens.slice(1, 1).flatten();
  return compare_positions(a, b, hidden_a, hidden_b, next)
      .view({4, batch, length})
      .to(torch::kFloat64)
      .sum(1);
}

void check_windows(std::span<const std::vector<int32_t>> windows, int64_t vocab_size) {
  HYPENET_CHECK(!windows.empty(), "compare: expected windows of text, found none");
  const size_t length = windows.front().size();
  HYPENET_CHECK(length > 1, "compare: expected windows of at least 2 tokens, found ", length);
  for (const auto& window : windows) {
    HYPENET_CHECK(window.size() == length, "compare: expected windows of ", length,
                  " tokens, found ", window.size());
    check_ids("compare", window, vocab_size);
  }
}

}  // namespace

std::vector<PositionComparison> compare_models(CausalLm& a, CausalLm& b,
                                               std::span<const std::vector<int32_t>> windows,
                                               const std::function<void(int64_t)>& on_windows) {
  const torch::NoGradGuard no_grad;
  const int64_t vocab_size = a->config().vocab_size;
  HYPENET_CHECK(vocab_size == b->config().vocab_size, "compare: vocab_size: expected ", vocab_size,
                " in both models, found ", b->config().vocab_size);
  check_windows(windows, vocab_size);
  a->begin_inference();
  b->begin_inference();
  const auto length = static_cast<int64_t>(windows.front().size()) - 1;
  const auto most = static_cast<size_t>(std::max<int64_t>(1, kBatchTokens / length));
  Tensor sums = torch::zeros({4, length}, torch::kFloat64);
  for (size_t begin = 0; begin < windows.size(); begin += most) {
    const size_t count = std::min(most, windows.size() - begin);
    const Tensor found = compare_batch(a, b, windows.subspan(begin, count));
    HYPENET_CHECK(torch::isfinite(found).all().item<bool>(),
                  "compare: ", torch::isfinite(found[2]).all().item<bool>() ? "second" : "first",
                  " model: expected finite numbers, found nan or infinity: its weights or "
                  "arithmetic overflow");
    sums += found;
    if (on_windows) on_windows(static_cast<int64_t>(begin + count));
  }
  const Tensor means = (sums / static_cast<double>(windows.size())).contiguous();
  const auto values = means.accessor<double, 2>();
  std::vector<PositionComparison> positions(static_cast<size_t>(length));
  for (int64_t p = 0; p < length; ++p) {
    positions[static_cast<size_t>(p)] = {values[0][p], values[1][p], values[2][p], values[3][p]};
  }
  return positions;
}

PositionComparison mean_comparison(std::span<const PositionComparison> positions, int64_t first,
                                   int64_t last) {
  PositionComparison mean;
  const auto count = static_cast<double>(last - first + 1);
  for (const auto& position :
       positions.subspan(static_cast<size_t>(first - 1), static_cast<size_t>(last - first + 1))) {
    for (const auto& [name, value] : kPositionMeasures) mean.*value += position.*value / count;
  }
  return mean;
}

std::vector<ComparisonBucket> comparison_buckets(std::span<const PositionComparison> positions,
                                                 int64_t per_octave) {
  constexpr double kFirst = 16;
  const auto length = static_cast<int64_t>(positions.size());
  std::vector<ComparisonBucket> buckets;
  int64_t first = 1;
  for (int64_t step = 0; first <= length; ++step) {
    const double ratio = static_cast<double>(step) / static_cast<double>(per_octave);
    const auto last =
        std::min(length, static_cast<int64_t>(std::lround(kFirst * std::exp2(ratio))));
    buckets.push_back({first, last, mean_comparison(positions, first, last)});
    first = last + 1;
  }
  return buckets;
}

}  // namespace hypenet
