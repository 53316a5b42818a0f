// Finds added tokens in a text: the leftmost, and among those the longest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/text_span.h"
#include "text/tokenizer_file.h"

namespace hypenet {

/// A stretch of text: an added token (its id), or text between such (no id).
struct Segment {
  std::optional<int32_t> id;
  std::string_view text;
};

class AddedTokenFinder {
 public:
  /// Adds a token that is to be found as `content` (its own content, or that normalised).
  void add(const AddedToken& token, std::string_view content);

  bool is_empty() const { return nodes_.size() == 1; }

  /// Cuts a text into tokens and what lies between. Stretches that are no token are never empty. No
  /// token has a byte of the `plain` spans, which are ascending.
  std::vector<Segment> split(std::string_view text, std::span<const TextSpan> plain = {}) const;

 private:
  struct Node {
    std::map<char, size_t> next;
    std::optional<AddedToken> token;
  };
  struct Match {
    const AddedToken* token;
    size_t size;
  };
  std::optional<Match> longest_at(std::string_view text, size_t at) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace hypenet
