// Sorted rows that share half of themselves with their neighbour form a family, such as the choices
// of one question. A family is split only where it outgrows a batch.
#include "engine/score_batches.h"

#include <algorithm>
#include <numeric>

namespace hypenet {
namespace {

// Mixers see rows padded to the longest: so many times the distinct tokens at most.
constexpr int64_t kMostRows = 6;

struct Family {
  std::vector<size_t> rows;
  int64_t tokens = 0;   // distinct ones
  int64_t longest = 0;  // tokens of a row
};

int64_t size_of(const ScoredRow& row) { return static_cast<int64_t>(row.ids.size()); }

int64_t alike(const ScoredRow& a, const ScoredRow& b) {
  return std::ranges::mismatch(a.ids, b.ids).in1 - a.ids.begin();
}

/// Whether so many rows fit a batch. What is longer than a batch may still share it with its likes.
bool fits(size_t rows, int64_t tokens, int64_t longest, int64_t batch_tokens) {
  const int64_t most = std::max(batch_tokens, longest + batch_tokens / 2);
  return tokens <= most && static_cast<int64_t>(rows) * longest <= kMostRows * most;
}

std::vector<Family> families(std::span<const ScoredRow> rows, int64_t batch_tokens) {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, {}, [&](size_t i) -> const auto& { return rows[i].ids; });
  std::vector<Family> found;
  for (size_t i = 0; i < order.size(); ++i) {
    const ScoredRow& row = rows[order[i]];
    const int64_t shared = i > 0 ? alike(row, rows[order[i - 1]]) : 0;
    if (i > 0 && 2 * shared >= size_of(row)) {
      Family& family = found.back();
      const int64_t tokens = family.tokens + size_of(row) - shared;
      const int64_t longest = std::max(family.longest, size_of(row));
      if (fits(family.rows.size() + 1, tokens, longest, batch_tokens)) {
        family.rows.push_back(order[i]);
        family.tokens = tokens, family.longest = longest;
        continue;
      }
    }
    found.push_back({{order[i]}, size_of(row), size_of(row)});
  }
  return found;
}

}  // namespace

RowBatches score_batches(std::span<const ScoredRow> rows, int64_t batch_tokens) {
  std::vector<Family> all = families(rows, batch_tokens);
  std::ranges::stable_sort(all, std::greater<>(), &Family::longest);
  std::vector<Family> batches;
  for (Family& family : all) {
    if (!batches.empty()) {
      Family& batch = batches.back();
      const auto count = static_cast<int64_t>(batch.rows.size() + family.rows.size());
      if (batch.tokens + family.tokens <= batch_tokens &&
          count * batch.longest <= kMostRows * batch_tokens) {
        batch.rows.insert(batch.rows.end(), family.rows.begin(), family.rows.end());
        batch.tokens += family.tokens;
        continue;
      }
    }
    batches.push_back(std::move(family));
  }
  RowBatches places;
  places.reserve(batches.size());
  for (Family& batch : batches) places.push_back(std::move(batch.rows));
  return places;
}

}  // namespace hypenet
