// The one loop over an engine's steps: requests in, each answer's tokens and end to whoever asked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>

#include "engine/engine.h"

namespace hypenet {

/// Sees each token of an answer as it comes; false ends the answer there (the token counts).
using OnToken = std::function<bool(const Event&)>;
/// Gets the whole answer once, at its end.
using OnEnd = std::function<void(Completion)>;

/// Requests that run side by side. The engine must outlive it and have nothing else under way.
class Answers {
 public:
  explicit Answers(Engine& engine) : engine_(engine) {}
  /// Drops what still runs: nobody is told, and the engine is idle.
  ~Answers();
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  /// Queues a request; both functions are called by step, and may add others. Returns its number,
  /// which Engine::cancel takes. Throws Error as Engine::submit does.
  int64_t add(Request request, OnToken on_token, OnEnd on_end);

  /// Runs a step of the engine and tells what became known; false once nothing is left. What a
  /// function throws leaves here.
  bool step();

  /// Ends every answer as cancelled, with the tokens it has.
  void stop_all();

  size_t size() const { return running_.size(); }

 private:
  struct Running {
    Completion completion;
    OnToken on_token;
    OnEnd on_end;
  };
  using Place = std::map<int64_t, Running>::iterator;

  void take(const Event& event);
  void end(Place place, FinishReason reason);

  Engine& engine_;
  std::map<int64_t, Running> running_;  // by the engine's number
};

/// Throws Error for an answer that ended at logits that are not finite; `whose` names them: "the
/// model's logits".
void check_finite(std::string_view whose, const Completion& answer);

}  // namespace hypenet
