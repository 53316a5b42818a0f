// Scoring in batches of rows. On a GPU a batch's scores are read while the next one runs.
#include "engine/score.h"

#include <algorithm>

#include "base/error.h"
#include "engine/score_batches.h"
#include "model/token_ids.h"

namespace hypenet {

int64_t score_batch_tokens(torch::Device device) {
  constexpr int64_t kGpu = 32768, kCpu = 2048;
  return device.is_cuda() ? kGpu : kCpu;
}

namespace {

void check_row(const ScoredRow& row, int64_t vocab_size) {
  const auto length = static_cast<int64_t>(row.ids.size());
  HYPENET_CHECK(row.first_scored >= 1 && row.first_scored < length,
                "score: first_scored: expected 1 to ", length - 1, " in a row of ", length,
                " tokens, found ", row.first_scored);
  check_ids("score", row.ids, vocab_size);
}

/// A scored token: the node that predicts it, and where its score belongs.
struct Prediction {
  int64_t node;
  int32_t target;
  size_t row, place;
};

/// Predictions that go through the head together; on the model's device.
struct Piece {
  Tensor nodes;              // [P]: distinct ones
  Tensor predictor, target;  // [n]: a place among them, and the id that is scored there
};

struct Batch {
  TokenTree tree;
  std::vector<Prediction> predictions;  // by node
  std::vector<Piece> pieces;            // the same in that order
};

/// Each node that predicts goes through the head once, `most` of them at a time.
std::vector<Piece> make_pieces(std::span<const Prediction> all, size_t most, torch::Device device) {
  const auto on_device = [&](const std::vector<int64_t>& numbers) {
    return torch::tensor(numbers, torch::kInt64).to(device);
  };
  std::vector<Piece> pieces;
  for (size_t at = 0; at < all.size();) {
    std::vector<int64_t> nodes, predictor, target;
    for (; at < all.size(); ++at) {
      const bool is_new = nodes.empty() || nodes.back() != all[at].node;
      if (is_new && nodes.size() == most) break;
      if (is_new) nodes.push_back(all[at].node);
      predictor.push_back(static_cast<int64_t>(nodes.size()) - 1);
      target.push_back(all[at].target);
    }
    pieces.push_back({on_device(nodes), on_device(predictor), on_device(target)});
  }
  return pieces;
}

Batch make_batch(std::span<const ScoredRow> rows, const std::vector<size_t>& places,
                 size_t nodes_of_a_piece, torch::Device device) {
  std::vector<std::span<const int32_t>> inputs;
  inputs.reserve(places.size());
  for (const size_t row : places) {
    inputs.push_back(std::span(rows[row].ids).first(rows[row].ids.size() - 1));
  }
  Batch batch{TokenTree::of(inputs, device), {}, {}};
  for (size_t i = 0; i < places.size(); ++i) {
    const ScoredRow& row = rows[places[i]];
    const auto first = static_cast<size_t>(row.first_scored);
    for (size_t t = first; t < row.ids.size(); ++t) {
      batch.predictions.push_back({batch.tree.nodes[i][t - 1], row.ids[t], places[i], t - first});
    }
  }
  std::ranges::stable_sort(batch.predictions, {}, &Prediction::node);
  batch.pieces = make_pieces(batch.predictions, nodes_of_a_piece, device);
  return batch;
}

/// Scores of a batch's predictions by one variant, on the model's device.
struct Scored {
  Tensor logprobs, greedy;  // float32 and bool, [predictions]
};

/// `hidden` [1, N, D]: the nodes' final hidden states.
Scored score_hidden(CausalLm& model, const Tensor& hidden, std::span<const Piece> pieces) {
  std::vector<Tensor> logprobs, greedy;
  for (const auto& [nodes, predictor, target] : pieces) {
    const Tensor x = hidden[0].index_select(0, nodes);           // [P, D]
    const Tensor logits = model->logits(x).to(torch::kFloat32);  // [P, V]
    const Tensor chosen = logits.flatten().index_select(0, predictor * logits.size(1) + target);
    logprobs.push_back(chosen - logits.logsumexp(-1).index_select(0, predictor));
    greedy.push_back(logits.argmax(-1).index_select(0, predictor) == target);
  }
  return {torch::cat(logprobs), torch::cat(greedy)};
}

/// Nodes whose logits are held at once.
size_t nodes_of_a_piece(const CausalLm& model) {
  constexpr int64_t kMostOnGpu = int64_t{1} << 28, kMostOnCpu = int64_t{1} << 24;  // logits
  const int64_t most = model->head_weight().is_cuda() ? kMostOnGpu : kMostOnCpu;
  return static_cast<size_t>(std::max<int64_t>(1, most / model->config().vocab_size));
}

/// What was queued and not yet read.
struct Queued {
  std::vector<Prediction> predictions;
  std::vector<Scored> variants;
  std::vector<size_t> rows;
};

void read(const Queued& queued, std::span<const ScoredRow> rows, std::vector<RowScores>& scores,
          const VariantScoring& options) {
  if (scores.size() < queued.variants.size()) {
    scores.resize(queued.variants.size(), RowScores(rows.size()));
  }
  for (size_t variant = 0; variant < queued.variants.size(); ++variant) {
    const Tensor logprobs = queued.variants[variant].logprobs.to(torch::kCPU);
    const Tensor greedy = queued.variants[variant].greedy.to(torch::kCPU);
    for (const size_t row : queued.rows) {
      scores[variant][row].resize(rows[row].ids.size() -
                                  static_cast<size_t>(rows[row].first_scored));
    }
    for (size_t i = 0; i < queued.predictions.size(); ++i) {
      const Prediction& prediction = queued.predictions[i];
      scores[variant][prediction.row][prediction.place] = {logprobs.const_data_ptr<float>()[i],
                                                           greedy.const_data_ptr<bool>()[i]};
    }
    if (!options.on_row) continue;
    for (const size_t row : queued.rows) options.on_row(variant, row, scores[variant][row]);
  }
}

}  // namespace

std::vector<RowScores> score_variants(CausalLm& model, std::span<const ScoredRow> rows,
                                      const HiddenVariants& variants,
                                      const VariantScoring& options) {
  const torch::NoGradGuard no_grad;
  const auto device = model->head_weight().device();
  for (const ScoredRow& row : rows) check_row(row, model->config().vocab_size);
  const int64_t most = options.batch_tokens > 0 ? options.batch_tokens : score_batch_tokens(device);
  std::vector<RowScores> scores;
  Queued queued;
  size_t done = 0;
  const auto read_queued = [&] {
    read(queued, rows, scores, options);
    done += queued.rows.size();
    if (options.report && !queued.rows.empty()) {
      options.report(static_cast<int64_t>(done), static_cast<int64_t>(rows.size()));
    }
  };
  for (const auto& places : options.batches ? *options.batches : score_batches(rows, most)) {
    Batch batch = make_batch(rows, places, nodes_of_a_piece(model), device);
    Queued next{{}, {}, places};
    variants(batch.tree, [&](const Tensor& hidden) {
      next.variants.push_back(score_hidden(model, hidden, batch.pieces));
    });
    next.predictions = std::move(batch.predictions);
    read_queued();
    queued = std::move(next);
  }
  read_queued();
  return scores;
}

}  // namespace hypenet
