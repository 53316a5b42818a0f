// How much of a conversation's text the next turn begins with: what is behind that cannot be
// reused, whatever is kept of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Turn k, with its answer, beside turn k + 1.
struct TurnPrefix {
  int64_t turn = 0;    // from 1
  int64_t tokens = 0;  // of turn k and all before
  int64_t shared = 0;  // of them turn k + 1 begins with
  std::string end;     // the text of the last shared tokens, from the turn's beginning on

  bool is_whole() const { return shared == tokens; }
};

/// Of a sample conversation of three turns, with thoughts where the template knows them. Throws
/// Error where the template refuses it.
std::vector<TurnPrefix> turn_prefixes(const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace hypenet
