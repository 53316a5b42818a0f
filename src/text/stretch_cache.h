// What stretches of text became, so that the known beginning of a conversation is not tokenized
// anew at every turn.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/tokenizer.h"

namespace hypenet {

/// Of one tokenizer. The stretches used last stay, up to a number of bytes. Every method may be
/// called from any thread.
class StretchCache {
 public:
  explicit StretchCache(size_t most_bytes = size_t{64} << 20) : most_bytes_(most_bytes) {}

  /// Ids, and where each begins in the stretch.
  using Known = std::shared_ptr<const TokenizedText>;
  /// Null: not known.
  Known find(std::string_view stretch);
  void put(std::string_view stretch, Known known);

  size_t bytes() const;  // of texts, ids and places that are kept

 private:
  struct Entry {
    std::string stretch;
    Known known;
    size_t bytes() const;
  };
  const size_t most_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // the last used one first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> places_;  // of their stretches
  size_t bytes_ = 0;
};

}  // namespace hypenet
