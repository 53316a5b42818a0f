// An answer may be ended before the engine tells its end; what then still comes is for nobody.
#include "engine/answers.h"

#include <utility>

#include "base/error.h"

namespace hypenet {

Answers::~Answers() {
  for (const auto& [number, running] : running_) engine_.cancel(number);
  try {
    while (!engine_.is_idle()) engine_.step();
  } catch (...) {  // the device has failed, and whoever ran into that has said so
  }
}

int64_t Answers::add(Request request, OnToken on_token, OnEnd on_end) {
  const int64_t number = engine_.submit(std::move(request));
  running_.emplace(number, Running{{}, std::move(on_token), std::move(on_end)});
  return number;
}

bool Answers::step() {
  for (const Event& event : engine_.step()) take(event);
  return !engine_.is_idle();
}

void Answers::stop_all() {
  while (!running_.empty()) {
    engine_.cancel(running_.begin()->first);
    end(running_.begin(), FinishReason::kCancelled);
  }
}

void Answers::take(const Event& event) {
  const Place place = running_.find(event.sequence);
  if (place == running_.end()) return;
  Running& running = place->second;
  if (event.id >= 0) {
    running.completion.ids.push_back(event.id);
    running.completion.logprobs.push_back(event.logprob);
    if (running.on_token && !running.on_token(event)) {
      engine_.cancel(event.sequence);
      return end(place, FinishReason::kCancelled);
    }
  }
  if (event.finish != FinishReason::kNone) end(place, event.finish);
}

void Answers::end(Place place, FinishReason reason) {
  Running ended = std::move(place->second);
  running_.erase(place);
  ended.completion.finish = reason;
  ended.on_end(std::move(ended.completion));
}

void check_finite(std::string_view whose, const Completion& answer) {
  HYPENET_CHECK(answer.finish != FinishReason::kNotFinite, whose,
                ": expected finite numbers, found nan or infinity");
}

}  // namespace hypenet
