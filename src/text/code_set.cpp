// Ranges are merged as they come; the tables come in order, where that costs nothing.
#include "text/code_set.h"

#include <algorithm>

namespace hypenet {

CodeSet::CodeSet(std::initializer_list<CodeRange> ranges) {
  for (const CodeRange& range : ranges) add(range.first, range.last);
}

void CodeSet::add(char32_t first, char32_t last) {
  const auto ends_before = [](const CodeRange& range, char32_t code) {
    return range.last + 1 < code;
  };
  const auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), first, ends_before);
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->last);
  }
  if (begin == end) {
    ranges_.insert(begin, {first, last});
  } else {
    *begin = {first, last};
    ranges_.erase(begin + 1, end);
  }
}

void CodeSet::add(const CodeSet& other) {
  for (const CodeRange& range : other.ranges_) add(range.first, range.last);
}

bool CodeSet::contains(char32_t code) const {
  const auto ends_before = [](const CodeRange& range, char32_t c) { return range.last < c; };
  const auto found = std::lower_bound(ranges_.begin(), ranges_.end(), code, ends_before);
  return found != ranges_.end() && found->first <= code;
}

CodeSet CodeSet::complement() const {
  CodeSet result;
  char32_t next = 0;
  for (const CodeRange& range : ranges_) {
    if (next < range.first) result.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCode) result.ranges_.push_back({next, kLastCode});
  return result;
}

CodeSet CodeSet::intersection(const CodeSet& other) const {
  CodeSet result;
  size_t i = 0, j = 0;
  while (i < ranges_.size() && j < other.ranges_.size()) {
    const CodeRange& a = ranges_[i];
    const CodeRange& b = other.ranges_[j];
    const char32_t first = std::max(a.first, b.first), last = std::min(a.last, b.last);
    if (first <= last) result.ranges_.push_back({first, last});
    (a.last < b.last ? i : j) += 1;
  }
  return result;
}

}  // namespace hypenet
