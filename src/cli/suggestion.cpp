// Optimal string alignment, by the rows of its table.
#include "cli/suggestion.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace hypenet {
namespace {

constexpr size_t kLeastPrefix = 3;  // letters that say enough

}  // namespace

size_t edit_distance(std::string_view one, std::string_view other) {
  std::vector<size_t> before, last(other.size() + 1), row(other.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= one.size(); ++i) {
    before = std::exchange(last, row);
    row[0] = i;
    for (size_t j = 1; j <= other.size(); ++j) {
      const size_t change = one[i - 1] == other[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      const bool is_swapped =
          i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
      if (is_swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& choices) {
  const auto begins = [&](const std::string& choice) { return choice.starts_with(word); };
  if (word.size() >= kLeastPrefix && std::count_if(choices.begin(), choices.end(), begins) == 1) {
    return *std::find_if(choices.begin(), choices.end(), begins);
  }
  std::optional<std::string> found;
  size_t least = std::max<size_t>(word.size() / 3, 1) + 1;
  for (const std::string& choice : choices) {
    const size_t distance = edit_distance(word, choice);
    if (distance < least) least = distance, found = choice;
  }
  return found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& choices) {
  const auto meant = nearest(word, choices);
  return meant ? "; did you mean " + *meant + "? " : "; ";
}

}  // namespace hypenet
