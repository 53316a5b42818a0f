// Scoring in batches of equally long rows.
#include "engine/score.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hypenet {
void check_ids(std::string_view place, std::span<const int32_t> ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, place, ": expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
  }
}

Tensor ids_tensor(std::span<const int32_t> ids, torch::Device device) {
  Tensor tensor = torch::empty({static_cast<int64_t>(ids.size())}, torch::kInt64);
  std::copy(ids.begin(), ids.end(), tensor.data_ptr<int64_t>());
  return tensor.to(device);
}

namespace {

// Logits held at once while scoring; a long row of a large vocabulary goes through the head in
// pieces.
constexpr int64_t kMostLogits = int64_t{1} << 24;

void check_row(const ScoredRow& row, int64_t vocab_size) {
  const auto length = static_cast<int64_t>(row.ids.size());
  HYPENET_CHECK(row.first_scored >= 1 && row.first_scored < length,
                "score: first_scored: expected 1 to ", length - 1, " in a row of ", length,
                " tokens, found ", row.first_scored);
  check_ids("score", row.ids, vocab_size);
}

struct PositionScores {
  Tensor logprobs;  // [N] float32
  Tensor greedy;    // [N] bool
};

/// Scores of targets [N] after the hidden states [N, D] that predict them.
PositionScores score_positions(CausalLm& model, const Tensor& hidden, const Tensor& targets) {
  const int64_t piece = std::max<int64_t>(1, kMostLogits / model->config().vocab_size);
  std::vector<Tensor> logprobs, greedy;
  for (int64_t begin = 0; begin < hidden.size(0); begin += piece) {
    const int64_t end = std::min(begin + piece, hidden.size(0));
    const Tensor logits = model->logits(hidden.slice(0, begin, end)).to(torch::kFloat32);
    const Tensor expected = targets.slice(0, begin, end);
    const Tensor chosen = logits.gather(-1, expected.unsqueeze(-1)).squeeze(-1);
    logprobs.push_back(chosen - logits.logsumexp(-1));
    greedy.push_back(logits.argmax(-1) == expected);
  }
  return {torch::cat(logprobs).to(torch::kCPU), torch::cat(greedy).to(torch::kCPU)};
}

/// Scores of one batch of equally long rows under every variant, appended to scores[variant][row].
void score_batch(CausalLm& model, std::span<const ScoredRow> rows, std::span<const size_t> batch,
                 const HiddenVariants& variants, std::vector<RowScores>& scores) {
  const auto device = model->head_weight().device();
  std::vector<Tensor> ids, targets;
  for (const size_t row : batch) {
    ids.push_back(ids_tensor(rows[row].ids, device));
    targets.push_back(ids.back().slice(0, rows[row].first_scored));
  }
  const Tensor tokens = torch::stack(ids);  // [B, T]
  const int64_t length = tokens.size(1);
  size_t variant = 0;
  variants(tokens.slice(1, 0, length - 1), [&](const Tensor& hidden) {  // [B, T - 1, D]
    std::vector<Tensor> predictors;
    for (size_t i = 0; i < batch.size(); ++i) {
      predictors.push_back(
          hidden[static_cast<int64_t>(i)].slice(0, rows[batch[i]].first_scored - 1));
    }
    const auto result = score_positions(model, torch::cat(predictors), torch::cat(targets));
    if (variant == scores.size()) scores.emplace_back(rows.size());
    const float* logprob = result.logprobs.const_data_ptr<float>();
    const bool* greedy = result.greedy.const_data_ptr<bool>();
    for (const size_t row : batch) {
      for (int64_t i = rows[row].first_scored; i < length; ++i) {
        scores[variant][row].push_back({*logprob++, *greedy++});
      }
    }
    ++variant;
  });
}

}  // namespace

std::vector<RowScores> score_variants(CausalLm& model, std::span<const ScoredRow> rows,
                                      int64_t batch_tokens, const HiddenVariants& variants,
                                      const std::function<void(int64_t, int64_t)>& report) {
  const torch::NoGradGuard no_grad;
  for (const ScoredRow& row : rows) check_row(row, model->config().vocab_size);
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rows[a].ids.size() < rows[b].ids.size(); });

  std::vector<RowScores> scores;
  for (size_t begin = 0; begin < order.size();) {
    const size_t length = rows[order[begin]].ids.size();
    const size_t most = std::max<size_t>(1, static_cast<size_t>(batch_tokens) / length);
    size_t end = begin + 1;
    while (end < order.size() && end - begin < most && rows[order[end]].ids.size() == length) ++end;
    score_batch(model, rows, std::span(order).subspan(begin, end - begin), variants, scores);
    begin = end;
    if (report) report(static_cast<int64_t>(end), static_cast<int64_t>(order.size()));
  }
  return scores;
}

}  // namespace hypenet
