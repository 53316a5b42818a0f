// Scoring in batches of equally long rows, and generation: prefill in chunks, then one token a
// forward.
#include "engine/engine.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/error.h"

namespace hypenet {
namespace {

// Logits held at once while scoring; a long row of a large vocabulary goes through the head in
// pieces.
constexpr int64_t kMostLogits = int64_t{1} << 24;

void check_ids(std::string_view place, std::span<const int32_t> ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, place, ": expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
  }
}

void check_row(const ScoredRow& row, int64_t vocab_size) {
  const auto length = static_cast<int64_t>(row.ids.size());
  HYPENET_CHECK(row.first_scored >= 1 && row.first_scored < length,
                "score: first_scored: expected 1 to ", length - 1, " in a row of ", length,
                " tokens, found ", row.first_scored);
  check_ids("score", row.ids, vocab_size);
}

Tensor ids_tensor(std::span<const int32_t> ids, torch::Device device) {
  Tensor tensor = torch::empty({static_cast<int64_t>(ids.size())}, torch::kInt64);
  std::copy(ids.begin(), ids.end(), tensor.data_ptr<int64_t>());
  return tensor.to(device);
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

}  // namespace

Engine::Engine(CausalLm model) : model_(std::move(model)) {
  model_->eval();
  model_->set_logits_scaling(model_->config().attn_logits_scaling);
}

const ModelConfig& Engine::config() const { return model_->config(); }

void Engine::score_batch(std::span<const ScoredRow> rows, std::span<const size_t> batch,
                         RowScores& scores) {
  const auto device = model_->head_weight().device();
  std::vector<Tensor> ids;
  for (const size_t row : batch) ids.push_back(ids_tensor(rows[row].ids, device));
  const Tensor tokens = torch::stack(ids);  // [B, T]
  const int64_t length = tokens.size(1);
  const Tensor hidden = model_->hidden(tokens.slice(1, 0, length - 1));  // [B, T - 1, D]

  std::vector<Tensor> predictors, targets;
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const int64_t first = rows[batch[i]].first_scored;
    predictors.push_back(hidden[index].slice(0, first - 1));
    targets.push_back(tokens[index].slice(0, first));
  }
  const auto result = score_positions(model_, torch::cat(predictors), torch::cat(targets));
  const float* logprob = result.logprobs.const_data_ptr<float>();
  const bool* greedy = result.greedy.const_data_ptr<bool>();
  for (const size_t row : batch) {
    for (int64_t i = rows[row].first_scored; i < length; ++i) {
      scores[row].push_back({*logprob++, *greedy++});
    }
  }
}

RowScores Engine::score(std::span<const ScoredRow> rows, int64_t batch_tokens) {
  const torch::NoGradGuard no_grad;
  for (const ScoredRow& row : rows) check_row(row, config().vocab_size);
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rows[a].ids.size() < rows[b].ids.size(); });

  RowScores scores(rows.size());
  for (size_t begin = 0; begin < order.size();) {
    const size_t length = rows[order[begin]].ids.size();
    const size_t most = std::max<size_t>(1, static_cast<size_t>(batch_tokens) / length);
    size_t end = begin + 1;
    while (end < order.size() && end - begin < most && rows[order[end]].ids.size() == length) ++end;
    score_batch(rows, std::span(order).subspan(begin, end - begin), scores);
    begin = end;
  }
  return scores;
}

Tensor Engine::advance(std::span<const int32_t> ids, int64_t chunk, DecodeState& state) {
  const auto device = model_->head_weight().device();
  Tensor hidden;
  for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(chunk)) {
    const size_t count = std::min(static_cast<size_t>(chunk), ids.size() - begin);
    const Tensor tokens = ids_tensor(ids.subspan(begin, count), device).unsqueeze(0);  // [1, T]
    hidden = model_->hidden(tokens, {}, &state);
  }
  return model_->logits(hidden[0][-1]);
}

std::vector<int32_t> Engine::generate(std::span<const int32_t> prompt,
                                      const GenerateOptions& options,
                                      const std::function<bool(int32_t)>& on_token) {
  const torch::NoGradGuard no_grad;
  HYPENET_CHECK(!prompt.empty(), "generate: expected a prompt of at least one token, found none");
  HYPENET_CHECK(options.prefill_chunk > 0, "generate: prefill_chunk: expected at least 1, found ",
                options.prefill_chunk);
  check_ids("generate", prompt, config().vocab_size);
  const auto& stops = options.stop_ids;
  const auto tensor_options = model_->head_weight().options().dtype(model_->compute_type());
  DecodeState state(config(), 1, static_cast<int64_t>(prompt.size()) + options.max_tokens,
                    tensor_options.requires_grad(false));
  Random random(options.sampling.seed);
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < options.max_tokens) {
    const Tensor logits = generated.empty() ? advance(prompt, options.prefill_chunk, state)
                               : advance(std::span(generated).last(1), 1, state);
    const int32_t id = sample(logits, options.sampling, random);
    if (std::find(stops.begin(), stops.end(), id) != stops.end()) break;
    generated.push_back(id);
    if (on_token && !on_token(id)) break;
  }
  return generated;
}

}  // namespace hypenet
