// Which tokens may come next in an answer that is held to a grammar.
#pragma once

#include <cstdint>
#include <span>

namespace hypenet {

/// Which tokens may come next in one answer; the engine's thread calls it.
class TokenMask {
 public:
  virtual ~TokenMask() = default;

  /// This token was chosen.
  virtual void accept(int32_t id) = 0;

  /// Bit v % 32 of word v / 32: token v may come. False: every token may, the words are untouched.
  virtual bool fill(std::span<int32_t> words) = 0;
};

}  // namespace hypenet
