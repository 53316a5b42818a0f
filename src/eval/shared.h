// An evaluation's work over the ranks of a job: each has all rows and requests, and answers its
// share. Batches are those of one rank, so that scores are the same bits.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/respondent.h"
#include "ranks/ranks.h"

namespace hypenet {

/// Scores batches of rows that the ranks share: every count-th batch is a rank's, for which it
/// calls `score_own`. All ranks call it with the same rows, and throw Error where they do not; each
/// is told all scores in the same order.
void score_dealt(
    std::span<const ScoredRow> rows, const RowBatches& batches, Communicator& ranks,
    const std::function<void(const RowBatches& own, const OnScores& on_scores)>& score_own,
    const OnScores& on_scores);

/// What the ranks found of items that are dealt out as batches are, `width` numbers of each: of all
/// items in their order, on every rank. All ranks call it.
std::vector<double> gather_dealt(const std::vector<double>& own, size_t width, Communicator& ranks);

/// Engine::score over the ranks, all of which call it with the same; each sees and gets all scores.
/// Throws Error on a rank with other rows than the first.
RowScores score_shared(Engine& engine, std::span<const ScoredRow> rows, const ScoreOptions& options,
                       Communicator& ranks);

/// Another respondent, of each rank. All ranks call it with the same, and throw Error where they
/// do not; each is told all answers in the same order.
class SharedRespondent : public Respondent {
 public:
  /// Both have to outlive it.
  SharedRespondent(Respondent& own, Communicator& ranks) : own_(own), ranks_(ranks) {}

  size_t variants() const override { return own_.variants(); }
  int64_t made_for() const override { return own_.made_for(); }
  std::string name_of_likelihood(size_t variant) const override {
    return own_.name_of_likelihood(variant);
  }
  int64_t batch_tokens() const override { return own_.batch_tokens(); }
  void score(std::span<const ScoredRow> rows, const RowBatches& batches,
             const OnScores& on_scores) override;
  /// AnswerUse::on_token sees the tokens of this rank's answers.
  void generate(std::span<const Request> requests, const AnswerUse& use) override;

 private:
  Respondent& own_;
  Communicator& ranks_;
};

}  // namespace hypenet
