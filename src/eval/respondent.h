// Whoever answers an evaluation's requests, token ids in and out: a model, or several variants of
// one that share work.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace hypenet {

/// Sees the scores of a row by a variant as they come; may throw to stop.
using OnScores =
    std::function<void(size_t variant, size_t row, const std::vector<TokenScore>& scores)>;

/// What is done with generated answers. Each has a variant and its request's place.
struct AnswerUse {
  /// Whether this one is asked for; empty: all are.
  std::function<bool(size_t variant, size_t request)> is_wanted = {};
  /// Sees each token; false ends the answer there (the token counts). Empty: it goes on.
  std::function<bool(size_t variant, size_t request, int32_t id)> on_token = {};
  std::function<void(size_t variant, size_t request, const std::vector<int32_t>& ids)> on_answer;
  /// Called often; may throw to stop, and nothing stays queued then.
  std::function<void()> on_step = {};
};

class Respondent {
 public:
  virtual ~Respondent() = default;

  virtual size_t variants() const { return 1; }

  /// Tokens of a row that the model was made for.
  virtual int64_t made_for() const = 0;

  /// Whose number it is, for errors: "eval: log-likelihood of a request".
  virtual std::string name_of_likelihood(size_t variant) const = 0;

  /// Distinct tokens of a scoring batch.
  virtual int64_t batch_tokens() const = 0;

  /// Scores the rows of these batches by every variant. Throws Error as Engine::score does.
  virtual void score(std::span<const ScoredRow> rows, const RowBatches& batches,
                     const OnScores& on_scores) = 0;

  /// Answers requests by the variants that are wanted, about in the order of the requests. Throws
  /// Error as Engine::submit does, and for logits that are not finite.
  virtual void generate(std::span<const Request> requests, const AnswerUse& use) = 0;
};

/// One model. On a GPU the first generation takes the engine's memory, so what is scored should be
/// asked for first.
class ModelRespondent : public Respondent {
 public:
  /// The engine has to outlive it, and has nothing else under way. `batch_tokens`: of a scoring
  /// batch; 0: chosen by device.
  explicit ModelRespondent(Engine& engine, int64_t batch_tokens = 0)
      : engine_(engine), batch_tokens_(batch_tokens) {}

  int64_t made_for() const override { return engine_.config().max_position_embeddings; }
  std::string name_of_likelihood(size_t /*variant*/) const override {
    return "eval: log-likelihood of a request";
  }
  int64_t batch_tokens() const override {
    return batch_tokens_ > 0 ? batch_tokens_ : engine_.score_batch_tokens();
  }
  void score(std::span<const ScoredRow> rows, const RowBatches& batches,
             const OnScores& on_scores) override;
  void generate(std::span<const Request> requests, const AnswerUse& use) override;

 private:
  Engine& engine_;
  int64_t batch_tokens_;
};

}  // namespace hypenet
