// The engine decides how many run at once; here only enough are queued to keep it busy.
#include "eval/generation.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr size_t kMostQueued = 256;

std::vector<size_t> longest_first(std::span<const Prompt> prompts) {
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return prompts[a].ids.size() > prompts[b].ids.size();
  });
  return order;
}

/// Whether a stop string shows in the tail, which is then cut to what the next piece may complete.
bool has_stop(std::string& tail, std::span<const std::string> until) {
  size_t longest = 0;
  for (const std::string& stop : until) {
    if (!stop.empty() && tail.find(stop) != std::string::npos) return true;
    longest = std::max(longest, stop.size());
  }
  if (tail.size() > longest) tail.erase(0, tail.size() - longest);
  return false;
}

}  // namespace

Generation::Generation(Engine& engine, const Tokenizer& tokenizer, std::vector<int32_t> stop_ids)
    : engine_(engine), tokenizer_(tokenizer), stop_ids_(std::move(stop_ids)) {}

void Generation::run(std::span<const Prompt> prompts,
                     const std::function<void(size_t, const std::vector<int32_t>&)>& on_answer,
                     const std::function<void()>& on_step) {
  HYPENET_CHECK(engine_.is_idle(), "eval: expected an engine without other sequences under way");
  const std::vector<size_t> order = longest_first(prompts);
  try {
    for (size_t next = 0; next < order.size() || !engine_.is_idle();) {
      for (; next < order.size() && running_.size() < kMostQueued; ++next) {
        submit(prompts[order[next]], order[next]);
      }
      for (const Event& event : engine_.step()) {
        if (!take(event, prompts)) continue;
        const auto ended = running_.find(event.sequence);
        const Running answer = std::move(ended->second);
        running_.erase(ended);
        on_answer(answer.place, answer.ids);
      }
      on_step();
    }
  } catch (...) {
    cancel_all();
    throw;
  }
}

void Generation::submit(const Prompt& prompt, size_t place) {
  Request request{prompt.ids, {.max_tokens = prompt.max_tokens, .sampling = {}, .stop_ids = {}}};
  request.options.stop_ids = stop_ids_;
  running_.emplace(engine_.submit(std::move(request)),
                   Running{.place = place, .decoder = StreamDecoder(tokenizer_, false)});
}

/// Whether the event ends its sequence. A sequence that a stop string ended has one more event to
/// come, which nobody waits for.
bool Generation::take(const Event& event, std::span<const Prompt> prompts) {
  const auto found = running_.find(event.sequence);
  if (found == running_.end()) return false;
  Running& running = found->second;
  HYPENET_CHECK(event.finish != FinishReason::kNotFinite, "eval: logits after a prompt of ",
                prompts[running.place].ids.size(),
                " tokens: expected finite numbers, found nan or infinity");
  if (event.id >= 0) {
    running.ids.push_back(event.id);
    running.tail += running.decoder.push(event.id);
  }
  if (event.finish != FinishReason::kNone) return true;
  if (!has_stop(running.tail, prompts[running.place].until)) return false;
  engine_.cancel(event.sequence);
  return true;
}

void Generation::cancel_all() {
  for (const auto& [number, running] : running_) engine_.cancel(number);
  running_.clear();
  while (!engine_.is_idle()) engine_.step();
}

}  // namespace hypenet
