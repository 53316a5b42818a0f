// Which tokens may come next in an answer: what a grammar tells the engine.
#pragma once

#include <cstdint>
#include <span>

namespace hypenet {

/// Of one answer. The thread that calls Engine::step calls it: `fill` before each token is chosen,
/// `accept` with what was chosen before the next `fill`. A stop id is chosen only where the mask
/// lets it come; it ends the answer and is not told. Log-probabilities are those without masks.
/// Neither may throw: others' tokens are under way.
class TokenMask {
 public:
  TokenMask() = default;
  virtual ~TokenMask() = default;
  TokenMask(const TokenMask&) = delete;
  TokenMask& operator=(const TokenMask&) = delete;

  /// This token was chosen.
  virtual void accept(int32_t id) = 0;

  /// Bit v % 32 of word v / 32, of ceil(V / 32): token v may come. False: every token may, and
  /// words are as they were. An answer without a token that may come ends with
  /// FinishReason::kNoToken.
  virtual bool fill(std::span<int32_t> words) = 0;
};

}  // namespace hypenet
