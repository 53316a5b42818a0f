// A stretch of a text, by its bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

struct TextSpan {
  size_t begin = 0, end = 0;

  bool operator==(const TextSpan&) const = default;
};

/// What of ascending spans lies in bytes `begin` to `end`, counted from `begin`.
std::vector<TextSpan> clip_spans(std::span<const TextSpan> spans, size_t begin, size_t end);

/// The text in Normalization Form C, as nfc of text/unicode.h, and where the ascending spans are in
/// it; one whose border normalisation moves grows over the characters that it joins.
struct NormalizedText {
  std::string text;
  std::vector<TextSpan> spans;
};
NormalizedText nfc_with_spans(std::string_view text, std::span<const TextSpan> spans);

}  // namespace hypenet
