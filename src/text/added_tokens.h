// Finds added tokens in a text: the leftmost, and among those the longest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

  /// Cuts a text into tokens and what lies between. Stretches that are no token are never empty.
  std::vector<Segment> split(std::string_view text) const;

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
