// The five behaviours of a split, each a rule for where two neighbouring spans are joined.
#include "text/pre_tokenizer.h"

#include "base/error.h"

namespace hypenet {

namespace {

struct Span {
  size_t begin = 0, end = 0;
  bool is_match = false;
};

/// Matches and what lies between them, in order, without gaps.
void find_spans(Pattern::Search& search, std::string_view text, std::vector<Span>& spans) {
  spans.clear();
  search.start(text);
  size_t end = 0;
  while (const auto match = search.next()) {
    if (end < match->begin) spans.push_back({end, match->begin, false});
    spans.push_back({match->begin, match->end, true});
    end = match->end;
  }
  if (end < text.size()) spans.push_back({end, text.size(), false});
}

bool joins(SplitBehavior behavior, const Span& left, const Span& right, bool joined_before) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      return false;
    case SplitBehavior::kContiguous:
      return left.is_match == right.is_match;
    case SplitBehavior::kMergedWithPrevious:
      return right.is_match && !left.is_match && !joined_before;
    case SplitBehavior::kMergedWithNext:
      return left.is_match && !right.is_match;
  }
  return false;
}

void emit(std::string_view text, const std::vector<Span>& spans, SplitBehavior behavior,
          std::vector<std::string_view>& out) {
  for (size_t i = 0; i < spans.size();) {
    size_t last = i;
    while (last + 1 < spans.size() && joins(behavior, spans[last], spans[last + 1], last > i))
      ++last;
    const bool removed = behavior == SplitBehavior::kRemoved && spans[i].is_match;
    const size_t size = spans[last].end - spans[i].begin;
    if (!removed && size > 0) out.push_back(text.substr(spans[i].begin, size));
    i = last + 1;
  }
}

}  // namespace

PreTokenizer::PreTokenizer(const SplitRule& rule) : rule_(rule) {
  if (!rule.pattern) return;
  pattern_ =
      rule.is_literal ? Pattern::literal(*rule.pattern) : Pattern::regex(*rule.pattern, rule.place);
}

std::vector<std::string_view> PreTokenizer::split(const std::vector<std::string_view>& pieces,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> out;
  std::vector<Span> spans;
  std::optional<Pattern::Search> search;
  if (pattern_) search.emplace(*pattern_);
  for (std::string_view piece : pieces) {
    if (rule_.add_prefix_space && !piece.starts_with(' '))
      piece = storage.emplace_back(concat(" ", piece));
    if (!search) {
      out.push_back(piece);
      continue;
    }
    find_spans(*search, piece, spans);
    if (rule_.invert) {
      for (Span& span : spans) span.is_match = !span.is_match;
    }
    emit(piece, spans, rule_.behavior, out);
  }
  return out;
}

}  // namespace hypenet
