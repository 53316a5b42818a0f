// Rows to score, and what their scores say: recall, next-token accuracy, perplexity.
#include "eval/measures.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/shared.h"

namespace hypenet {
namespace {

/// n tokens of `prose` from `begin` on, going round at its end.
std::vector<int32_t> cyclic(const std::vector<int32_t>& prose, int64_t begin, int64_t n) {
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    tokens.push_back(prose[static_cast<size_t>(begin + i) % prose.size()]);
  }
  return tokens;
}

void check_finite(const char* measure, const RowScores& scores) {
  for (const auto& row : scores) {
    for (const TokenScore& token : row) {
      HYPENET_CHECK(std::isfinite(token.logprob), measure, ": log-likelihood of a token: expected ",
                    "a finite number, found nan or infinity: the model's weights or arithmetic ",
                    "overflow");
    }
  }
}

}  // namespace

std::vector<ScoredRow> recall_rows(const NeedleTask& task, const std::vector<int32_t>& prose,
                                   const RecallOptions& options) {
  HYPENET_CHECK(!prose.empty(), "recall: expected prose to hide facts in, found none");
  std::vector<ScoredRow> rows;
  for (int64_t prompt = 0; prompt < options.prompts; ++prompt) {
    Random random(options.seed, {options.context, prompt});
    const auto excerpt = [&](int64_t n) {
      return cyclic(prose, random.below(static_cast<int64_t>(prose.size())), n);
    };
    NeedleRow row =
        task.row(options.context, options.needles, 1, NeedleKeys::kHeldOut, random, excerpt);
    rows.push_back({std::move(row.ids), row.answer_starts.at(0)});
  }
  return rows;
}

std::vector<ScoredRow> text_rows(const std::vector<int32_t>& prose, int64_t context,
                                 int64_t limit) {
  HYPENET_CHECK(context > 0 && limit > 0, "text windows: expected a context and a number of at ",
                "least 1, found ", context, " and ", limit);
  // Windows overlap by one token, so that every token but the first is predicted once.
  const int64_t windows = (static_cast<int64_t>(prose.size()) - 1) / context;
  HYPENET_CHECK(windows > 0, "text windows: expected a text of at least ", context + 1,
                " tokens, found ", prose.size());
  const int64_t count = std::min(windows, limit);
  std::vector<ScoredRow> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back({cyclic(prose, i * windows / count * context, context + 1), 1});
  }
  return rows;
}

TextMeasure measure_text(Engine& engine, Communicator& ranks, const std::vector<int32_t>& prose,
                         int64_t context, int64_t windows, const ScoreOptions& options) {
  const RowScores scores = score_shared(engine, text_rows(prose, context, windows), options, ranks);
  return {perplexity(scores), greedy_share(scores), static_cast<int64_t>(scores.size())};
}

RecallMeasure measure_recall(Engine& engine, Communicator& ranks, const NeedleTask& task,
                             const std::vector<int32_t>& prose, const RecallOptions& options,
                             const ScoreOptions& scoring) {
  const double share =
      exact_share(score_shared(engine, recall_rows(task, prose, options), scoring, ranks));
  return {share, share_error(share, options.prompts)};
}

double exact_share(const RowScores& scores) {
  HYPENET_CHECK(!scores.empty(), "exact share: expected scored rows, found none");
  check_finite("exact share", scores);
  const auto exact = std::count_if(scores.begin(), scores.end(), [](const auto& row) {
    return std::all_of(row.begin(), row.end(),
                       [](const TokenScore& token) { return token.greedy; });
  });
  return static_cast<double>(exact) / static_cast<double>(scores.size());
}

double greedy_share(const RowScores& scores) {
  check_finite("next-token accuracy", scores);
  int64_t greedy = 0, tokens = 0;
  for (const auto& row : scores) {
    for (const TokenScore& token : row) greedy += token.greedy;
    tokens += static_cast<int64_t>(row.size());
  }
  HYPENET_CHECK(tokens > 0, "next-token accuracy: expected scored tokens, found none");
  return static_cast<double>(greedy) / static_cast<double>(tokens);
}

double perplexity(const RowScores& scores) {
  check_finite("perplexity", scores);
  double sum = 0;
  int64_t tokens = 0;
  for (const auto& row : scores) {
    for (const TokenScore& token : row) sum -= token.logprob;
    tokens += static_cast<int64_t>(row.size());
  }
  HYPENET_CHECK(tokens > 0, "perplexity: expected scored tokens, found none");
  return std::exp(sum / static_cast<double>(tokens));
}

double share_error(double share, int64_t trials) {
  return std::sqrt(share * (1 - share) / static_cast<double>(trials));
}

}  // namespace hypenet
