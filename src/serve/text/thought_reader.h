// The text of a thought while it comes: without the newlines at its ends, whole characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/text/answer_delta.h"
#include "text/stop_finder.h"

namespace hypenet {

class ThoughtReader {
 public:
  /// `closing`: the marker that ends it, sought in the text; empty: it is a token.
  explicit ThoughtReader(const std::string& closing) : closing_({closing}) {}

  /// Takes bytes up to the marker, tells what became certain and returns how many were taken.
  size_t push(std::string_view bytes, std::vector<AnswerDelta>& deltas);

  /// Tells the rest.
  void finish(std::vector<AnswerDelta>& deltas);

  bool is_closed() const { return is_closed_; }
  /// Whether nothing but newlines came.
  bool is_empty() const { return !has_begun_ && held_.empty(); }

 private:
  void tell(size_t size, std::vector<AnswerDelta>& deltas);

  StopFinder closing_;
  std::string held_;
  bool has_begun_ = false, is_closed_ = false;
};

}  // namespace hypenet
