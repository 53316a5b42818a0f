// Pre-tokenizers cut a text into the words that BPE works on.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"
#include "text/tokenizer_file.h"

namespace hypenet {

/// One SplitRule, compiled. May be shared between threads.
class PreTokenizer {
 public:
  explicit PreTokenizer(const SplitRule& rule);

  /// Cuts each piece of valid UTF-8 into smaller ones; empty ones are dropped. Pieces that had to
  /// be changed (a space put in front) are kept in `storage`.
  std::vector<std::string_view> split(const std::vector<std::string_view>& pieces,
                                      std::deque<std::string>& storage) const;

 private:
  SplitRule rule_;
  std::optional<Pattern> pattern_;
};

}  // namespace hypenet
