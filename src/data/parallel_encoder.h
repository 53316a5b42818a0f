// Documents become tokens on all cores, whatever share of them arithmetic has, and are passed on in
// their order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <vector>

#include "base/processors.h"
#include "data/bad_documents.h"
#include "text/tokenizer.h"

namespace hypenet {

/// A document, and what had been left out when it was read.
struct EncodedDocument {
  std::vector<int32_t> ids = {};
  int64_t bytes = 0;  // of its text
  BadDocuments bad = BadDocuments();
};

class ParallelEncoder {
 public:
  /// Sees each document, in the thread that adds them, until it returns false or throws.
  using Use = std::function<bool(EncodedDocument& document)>;

  /// The tokenizer has to outlive it.
  ParallelEncoder(const Tokenizer& tokenizer, Use use)
      : tokenizer_(tokenizer), use_(std::move(use)) {}

  /// Takes a document; earlier ones may be passed on. Returns whether more are wanted.
  bool add(std::string_view text, const BadDocuments& bad);

  /// Passes on all that were added.
  void finish();

 private:
  struct Text {
    std::string text;
    BadDocuments bad;
  };

  void begin_group();
  void pass_on_group();
  static std::vector<EncodedDocument> encode(const Tokenizer& tokenizer,
                                             const std::vector<Text>& texts);

  const Tokenizer& tokenizer_;
  Use use_;
  size_t threads_ = static_cast<size_t>(physical_cores());
  std::vector<Text> texts_;                                       // of the next group
  size_t bytes_ = 0;                                              // of them
  std::deque<std::future<std::vector<EncodedDocument>>> groups_;  // a thread each
  bool is_more_wanted_ = true;
};

}  // namespace hypenet
