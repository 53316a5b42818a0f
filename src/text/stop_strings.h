// The text of an answer that ends at one of some strings, while its tokens come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/stop_finder.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Decodes a stream of ids up to the first stop string that is complete, which is left out; of
/// several that end at the same place the longest. What may be the beginning of one is held back,
/// so the text does not depend on how it is cut into tokens.
class StopStrings {
 public:
  /// The tokenizer has to outlive it. Empty strings are ignored.
  StopStrings(const Tokenizer& tokenizer, std::vector<std::string> stops,
              bool skip_special_tokens = true);

  /// The text that became certain with this id; may be empty, and is once a string has shown.
  std::string push(int32_t id);

  /// The rest of an answer that ends without a stop string.
  std::string finish();

  bool has_stopped() const { return has_stopped_; }

 private:
  std::string take(const std::string& text);

  StreamDecoder decoder_;
  StopFinder finder_;
  std::string held_;
  bool has_stopped_ = false;
};

}  // namespace hypenet
