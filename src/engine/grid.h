// The grid: where the prefill of a prompt is cut. On a GPU the bits of a prompt depend on its cuts,
// so they are a function of the tokens before them, whoever runs and whatever is cached.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hypenet {

/// A place in a prompt where other prompts may part from it: `position` tokens stand before it.
struct PromptMark {
  enum class Kind {
    kTurn,       // the first token of a message's header
    kSystemEnd,  // behind the system message
    kClient,     // where the client asked for one
  };
  int64_t position = 0;
  Kind kind = Kind::kTurn;

  static constexpr int64_t kMostOfClient = 16;  // a prompt
};

struct Grid {
  int64_t chunk = 0;  // tokens of a piece at most
  int64_t least = 0;  // tokens of a piece that ends at a turn
};

constexpr int64_t kLeastSystem = 256, kLeastClient = 64;  // of pieces that end at other marks

/// The cuts, upwards, of a prompt of so many tokens: from the left, the next one is the first of
/// chunk tokens after the last, and a mark at least its kind's least after the last. The end of the
/// prompt is among them only where the rule puts one. Marks may come in any order; of a prompt's
/// beginning the cuts are those of the whole.
std::vector<int64_t> prefill_cuts(int64_t tokens, std::span<const PromptMark> marks,
                                  const Grid& grid);

/// Throws Error unless marks lie within the prompt and at most kMostOfClient are the client's.
void check_marks(std::span<const PromptMark> marks, int64_t tokens);

}  // namespace hypenet
