// An engine on a thread of its own: requests in from any thread, one batch of news a step out.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace hypenet {

/// What became known of a request. `event.sequence` is the request's ticket.
struct EngineNews {
  Event event = {};
  std::string refusal = {};  // why the engine did not take it; no further news comes
  std::string failure = {};  // why the engine ended; none of its requests get further news
};

/// One step of the engine.
struct StepFigures {
  double seconds = 0;
  int64_t tokens = 0;  // of prompts and answers
};

/// Runs the engine's steps while there is work, and waits without turning otherwise.
class EngineThread {
 public:
  /// Gets each step's news, on the engine's thread; must be quick and must not throw. News may come
  /// without a step, and steps without news.
  using OnNews = std::function<void(std::vector<EngineNews>, std::optional<StepFigures>)>;

  EngineThread(Engine engine, OnNews on_news);
  /// Drops what still runs; nobody is told.
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  /// Queues a request under a ticket that is used once. Any thread.
  void submit(int64_t ticket, Request request);

  /// Ends a request at the next step, without further news of it. Unknown ones are ignored. Any
  /// thread.
  void cancel(int64_t ticket);

  /// Runs something between two steps, on the engine's thread. It must not throw. Any thread.
  void call(std::function<void(Engine&)> work);

  /// As of the last step. Any thread; never waits for a step.
  EngineStats stats() const;
  /// Steps since the start.
  int64_t steps() const { return steps_.load(std::memory_order_relaxed); }
  /// Why the engine ended, if it did. Any thread.
  std::optional<std::string> failure() const;

 private:
  using Work = std::function<void(Engine&)>;

  void push(Work work);
  std::deque<Work> take_work();
  void run();
  std::optional<double> step();
  void fail(const std::string& reason);
  int64_t publish();

  Engine engine_;
  OnNews on_news_;
  std::map<int64_t, int64_t> sequences_;  // by ticket; the engine's thread alone
  std::map<int64_t, int64_t> tickets_;    // by the engine's number; likewise
  std::vector<EngineNews> news_;          // likewise

  mutable std::mutex mutex_;
  std::condition_variable has_work_;
  std::deque<Work> work_;
  bool ends_ = false;
  EngineStats stats_;
  std::optional<std::string> failure_;
  std::atomic<int64_t> steps_ = 0;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace hypenet
