// Sorted rows that share half of themselves with their neighbour form a family, such as the choices
// of one question. Families are never split but for the size of a batch.
#include "engine/score_batches.h"

#include <algorithm>
#include <numeric>

namespace hypenet {
namespace {

struct Family {
  std::vector<size_t> rows;
  int64_t tokens = 0;   // distinct ones
  int64_t longest = 0;  // tokens of a row
};

int64_t size_of(const ScoredRow& row) { return static_cast<int64_t>(row.ids.size()); }

int64_t alike(const ScoredRow& a, const ScoredRow& b) {
  return std::ranges::mismatch(a.ids, b.ids).in1 - a.ids.begin();
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
    const int64_t fresh = size_of(row) - shared;
    const bool is_akin = i > 0 && 2 * shared >= size_of(row);
    if (!is_akin || found.back().tokens + fresh > batch_tokens) {
      found.push_back({{order[i]}, size_of(row), size_of(row)});
      continue;
    }
    Family& family = found.back();
    family.rows.push_back(order[i]);
    family.tokens += fresh;
    family.longest = std::max(family.longest, size_of(row));
  }
  return found;
}

}  // namespace

std::vector<std::vector<size_t>> score_batches(std::span<const ScoredRow> rows,
                                               int64_t batch_tokens) {
  // Mixers see rows padded to the longest: so many times the distinct tokens at most.
  constexpr int64_t kMostRows = 6;
  std::vector<Family> all = families(rows, batch_tokens);
  std::ranges::stable_sort(all, std::greater<>(), &Family::longest);
  std::vector<std::vector<size_t>> batches;
  int64_t tokens = 0, longest = 0;
  for (const Family& family : all) {
    const bool fits = !batches.empty() && tokens + family.tokens <= batch_tokens &&
                      static_cast<int64_t>(batches.back().size() + family.rows.size()) * longest <=
                          kMostRows * batch_tokens;
    if (!fits) {
      batches.emplace_back();
      tokens = 0, longest = family.longest;
    }
    tokens += family.tokens;
    batches.back().insert(batches.back().end(), family.rows.begin(), family.rows.end());
  }
  return batches;
}

}  // namespace hypenet
