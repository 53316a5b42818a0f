// Two measures on token ids, the recipes' own: recall of hidden facts and prediction of held-out
// text.
#pragma once

#include <cstdint>
#include <vector>

#include "data/synthetic/needle.h"
#include "engine/engine.h"
#include "engine/scoring.h"
#include "ranks/ranks.h"
#include "text/tokenizer.h"

namespace hypenet {

struct RecallOptions {
  int64_t context = 256;  // tokens of a prompt, answer included
  int64_t needles = 4;    // facts hidden; one of them is asked for
  int64_t prompts = 48;
  uint64_t seed = 0;
};

/// Recall prompts with held-out keys, made from `prose` (token ids of held-out text; reused
/// cyclically from random places). The answer's digits are the scored tokens: all greedy is the
/// same as greedy generation being exact.
std::vector<ScoredRow> recall_rows(const NeedleTask& task, const std::vector<int32_t>& prose,
                                   const RecallOptions& options);

/// Consecutive windows of `context` + 1 tokens (`context` predictions each); at most `limit` rows,
/// spread evenly.
std::vector<ScoredRow> text_rows(const std::vector<int32_t>& prose, int64_t context, int64_t limit);

/// How well a model predicts text.
struct TextMeasure {
  double perplexity = 0, next_token_accuracy = 0;
  int64_t windows = 0;
};

/// The model on text_rows, which the ranks share; all get the measure.
TextMeasure measure_text(Engine& engine, Communicator& ranks, const std::vector<int32_t>& prose,
                         int64_t context, int64_t windows, const ScoreOptions& options = {});

/// The share of prompts answered exactly, and its standard error.
struct RecallMeasure {
  double share = 0, error = 0;
};

/// The model on recall_rows, likewise.
RecallMeasure measure_recall(Engine& engine, Communicator& ranks, const NeedleTask& task,
                             const std::vector<int32_t>& prose, const RecallOptions& options,
                             const ScoreOptions& scoring = {});

// These three throw Error when nothing was scored, and for a log-likelihood that is not finite.

/// The share of rows all of whose scored tokens are greedy.
double exact_share(const RowScores& scores);

/// The share of scored tokens that are greedy: next-token accuracy.
double greedy_share(const RowScores& scores);

/// exp of the mean negative log-probability a token.
double perplexity(const RowScores& scores);

/// Standard error of a share of n trials.
double share_error(double share, int64_t trials);

}  // namespace hypenet
