// A request on its way through the engine.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/memory.h"
#include "engine/options.h"
#include "engine/prefix_tree.h"
#include "engine/runner.h"

namespace hypenet {

/// Waits for another sequence, which reads the same beginning.
struct Awaited {
  int64_t leader = 0;    // its number
  int64_t position = 0;  // what it has to pass
  bool is_twin = false;  // the prompts are the same: its end is taken over, too
};

struct Sequence {
  Request request;
  ReuseMode mode = ReuseMode::kOff;
  std::vector<int64_t> cuts;         // of its prompt
  std::optional<Lease> lease;        // none while it waits
  Tensor prompt;                     // int64 on the model's device, while it is read
  bool is_stepped = false;           // its prompt goes through decode steps
  int64_t prefilled = 0;             // tokens of the prompt
  int64_t launched = 0;              // tokens of the answer that are queued, or known
  std::vector<int32_t> answer = {};  // what is known of it, with the token that stopped it

  PrefixNode* place = nullptr;                // in the tree, where what is kept of it ends
  const PrefixNode* worth_keeping = nullptr;  // where its beginning parted from a known one
  int64_t ticket = 0;                         // of side copies that it needs
  std::optional<Awaited> awaits;
  int64_t awaited_before = 0;    // a position; it does not wait for the same twice
  PrefixNode* coming = nullptr;  // what it waits for from the disk; it stays in the tree
  int64_t fetches = 2;           // so often it may do so
  int64_t near = -1;             // what was reusable in memory before; -1: it did not
  Tensor parked = {};            // uint8 [n, page_bytes]: its pages while it is paused
  bool is_paused = false;
  std::shared_ptr<PromptReport> report = std::make_shared<PromptReport>();

  int64_t prompt_tokens() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t tokens() const { return prompt_tokens() + request.options.max_tokens; }
  bool is_reading() const { return lease && prefilled < prompt_tokens(); }
  bool decodes() const {
    return lease && !is_paused && launched > 0 && launched < request.options.max_tokens;
  }
  /// Tokens whose keys, values and states its memory holds when all that is queued is done.
  int64_t tokens_in_memory() const { return prefilled + std::max<int64_t>(launched - 1, 0); }
};

constexpr int64_t kNobody = -1;  // in place of a sequence: its prompt goes on

/// Tokens under way, one a sequence; a sequence may have ended meanwhile.
struct Launch {
  std::vector<int64_t> sequences;
  Chosen chosen;
  PromptReport::Time queued = {};
  bool is_decode = false, has_piece = false;  // with a piece of a prompt before it
};

}  // namespace hypenet
