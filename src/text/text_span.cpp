// Normalisation works on an inert character and the marks behind it; nothing reaches further.
#include "text/text_span.h"

#include <algorithm>

#include "text/unicode.h"

namespace hypenet {
namespace {

/// The end of the character at byte `at` and of those behind it that may join it.
size_t cluster_end(std::string_view text, size_t at) {
  do {
    at += read_utf8(text, at).size;
  } while (at < text.size() && !is_surely_nfc(text.substr(at, read_utf8(text, at).size)));
  return at;
}

}  // namespace

std::vector<TextSpan> clip_spans(std::span<const TextSpan> spans, size_t begin, size_t end) {
  std::vector<TextSpan> clipped;
  for (auto span = std::ranges::upper_bound(spans, begin, {}, &TextSpan::end);
       span != spans.end() && span->begin < end; ++span) {
    clipped.push_back({std::max(span->begin, begin) - begin, std::min(span->end, end) - begin});
  }
  return clipped;
}

NormalizedText nfc_with_spans(std::string_view text, std::span<const TextSpan> spans) {
  NormalizedText result;
  auto span = spans.begin();
  for (size_t at = 0; at < text.size();) {
    const size_t end = cluster_end(text, at), before = result.text.size();
    const std::string_view cluster = text.substr(at, end - at);
    result.text += is_surely_nfc(cluster) ? std::string(cluster) : nfc(cluster);
    while (span != spans.end() && span->end <= at) ++span;
    at = end;
    if (span == spans.end() || span->begin >= end) continue;
    const bool goes_on = !result.spans.empty() && result.spans.back().end == before;
    if (!goes_on) result.spans.push_back({before, before});
    result.spans.back().end = result.text.size();
  }
  return result;
}

}  // namespace hypenet
