// Every count-th batch or request is a rank's: long ones come first, so shares take about as long.
#include "eval/shared.h"

#include <functional>
#include <string_view>

#include "engine/score_batches.h"
#include "ranks/exchange.h"

namespace hypenet {
namespace {

/// Throws Error on a rank whose data or tokenizer gave other token ids than the first rank's.
template <class Row>
void check_same_ids(Communicator& ranks, std::span<const Row> rows,
                    std::vector<int32_t> Row::*ids) {
  if (ranks.ranks().count == 1) return;
  std::string bytes;
  for (const Row& row : rows) append(bytes, row.*ids);
  ranks.check_same("eval: number and hash of the rows of token ids",
                   concat(rows.size(), ", ", std::hash<std::string_view>()(bytes)));
}

}  // namespace

void score_dealt(
    std::span<const ScoredRow> rows, const RowBatches& batches, Communicator& ranks,
    const std::function<void(const RowBatches& own, const OnScores& on_scores)>& score_own,
    const OnScores& on_scores) {
  check_same_ids(ranks, rows, &ScoredRow::ids);
  Exchange exchange(ranks, [&](const std::string& found) {
    for (Records records(found); !records.is_at_end();) {
      const auto variant = records.next<size_t>(), row = records.next<size_t>();
      on_scores(variant, row, records.next_list<TokenScore>());
    }
  });
  const auto count = static_cast<size_t>(ranks.ranks().count);
  RowBatches own;
  for (auto i = static_cast<size_t>(ranks.ranks().index); i < batches.size(); i += count) {
    own.push_back(batches[i]);
  }
  score_own(own, [&](size_t variant, size_t row, const auto& scores) {
    append(exchange.found(), variant);
    append(exchange.found(), row);
    append(exchange.found(), scores);
    if (exchange.is_due()) exchange.tell(true);
  });
  while (exchange.tell(false)) continue;
}

std::vector<double> gather_dealt(const std::vector<double>& own, size_t width,
                                 Communicator& ranks) {
  std::string bytes;
  for (const double number : own) append(bytes, number);
  const std::vector<std::string> of_ranks = ranks.gather_bytes(bytes);
  std::vector<Records> readers(of_ranks.begin(), of_ranks.end());
  std::vector<double> all;
  for (size_t item = 0;; ++item) {
    Records& reader = readers[item % readers.size()];
    if (reader.is_at_end()) return all;
    for (size_t i = 0; i < width; ++i) all.push_back(reader.next<double>());
  }
}

RowScores score_shared(Engine& engine, std::span<const ScoredRow> rows, const ScoreOptions& options,
                       Communicator& ranks) {
  ModelRespondent own(engine, options.batch_tokens);
  RowScores all(rows.size());
  SharedRespondent(own, ranks)
      .score(rows, score_batches(rows, own.batch_tokens()),
             [&](size_t, size_t row, const auto& scores) {
               all[row] = scores;
               if (options.on_row) options.on_row(row, scores);
             });
  return all;
}

void SharedRespondent::score(std::span<const ScoredRow> rows, const RowBatches& batches,
                             const OnScores& on_scores) {
  score_dealt(
      rows, batches, ranks_,
      [&](const RowBatches& own, const OnScores& on_own) { own_.score(rows, own, on_own); },
      on_scores);
}

void SharedRespondent::generate(std::span<const Request> requests, const AnswerUse& use) {
  check_same_ids(ranks_, requests, &Request::prompt);
  const auto first = static_cast<size_t>(ranks_.ranks().index);
  const auto count = static_cast<size_t>(ranks_.ranks().count);
  const auto place = [=](size_t own) { return first + own * count; };
  std::vector<Request> own;
  for (size_t i = first; i < requests.size(); i += count) own.push_back(requests[i]);
  Exchange exchange(ranks_, [&](const std::string& found) {
    for (Records records(found); !records.is_at_end();) {
      const auto variant = records.next<size_t>(), request = records.next<size_t>();
      use.on_answer(variant, request, records.next_list<int32_t>());
    }
  });
  const auto on_step = [&] {
    if (use.on_step) use.on_step();
  };
  AnswerUse here;
  if (use.is_wanted) {
    here.is_wanted = [&](size_t variant, size_t i) { return use.is_wanted(variant, place(i)); };
  }
  if (use.on_token) {
    here.on_token = [&](size_t variant, size_t i, int32_t id) {
      return use.on_token(variant, place(i), id);
    };
  }
  here.on_answer = [&](size_t variant, size_t i, const std::vector<int32_t>& ids) {
    append(exchange.found(), variant);
    append(exchange.found(), place(i));
    append(exchange.found(), ids);
  };
  here.on_step = [&] {
    if (exchange.is_due()) exchange.tell(true);
    on_step();
  };
  own_.generate(own, here);
  while (exchange.tell(false)) on_step();
}

}  // namespace hypenet
