// One queue of work that is done between steps. Whoever waits for the engine waits here.
#include "engine/engine_thread.h"

#include <exception>
#include <utility>

#include "base/seconds.h"

namespace hypenet {
namespace {

int64_t tokens_of(const EngineStats& stats) {
  return stats.prefilled_tokens + stats.decoded_tokens;
}

}  // namespace

EngineThread::EngineThread(Engine engine, OnNews on_news)
    : engine_(std::move(engine)), on_news_(std::move(on_news)), stats_(engine_.stats()) {
  thread_ = std::thread([this] { run(); });
}

EngineThread::~EngineThread() {
  {
    const std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  has_work_.notify_one();
  thread_.join();
}

void EngineThread::push(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    work_.push_back(std::move(work));
  }
  has_work_.notify_one();
}

void EngineThread::submit(int64_t ticket, Request request) {
  push([this, ticket, request = std::move(request)](Engine& engine) mutable {
    if (failure_) return news_.push_back({.event = {.sequence = ticket}, .failure = *failure_});
    try {
      const int64_t number = engine.submit(std::move(request));
      sequences_[ticket] = number, tickets_[number] = ticket;
    } catch (const std::exception& error) {
      news_.push_back({.event = {.sequence = ticket}, .refusal = error.what()});
    }
  });
}

void EngineThread::cancel(int64_t ticket) {
  push([this, ticket](Engine& engine) {
    const auto place = sequences_.find(ticket);
    if (place == sequences_.end()) return;
    engine.cancel(place->second);
    tickets_.erase(place->second);
    sequences_.erase(place);
  });
}

void EngineThread::call(Work work) { push(std::move(work)); }

EngineStats EngineThread::stats() const {
  const std::scoped_lock lock(mutex_);
  return stats_;
}

std::optional<std::string> EngineThread::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

/// What is to be done before the next step; waits where there is no step to run.
std::deque<EngineThread::Work> EngineThread::take_work() {
  std::unique_lock lock(mutex_);
  if (engine_.is_idle() || failure_) has_work_.wait(lock, [&] { return ends_ || !work_.empty(); });
  return std::exchange(work_, {});
}

void EngineThread::run() {
  while (true) {
    std::deque<Work> work = take_work();
    {
      const std::scoped_lock lock(mutex_);
      if (ends_) break;
    }
    std::optional<double> seconds;
    try {
      for (Work& task : work) task(engine_);
      if (!failure_) seconds = step();
    } catch (const std::exception& error) {
      fail(error.what());
    }
    const int64_t tokens = publish();
    std::optional<StepFigures> figures;
    if (seconds) figures = {*seconds, tokens};
    if (!news_.empty() || figures) on_news_(std::exchange(news_, {}), figures);
  }
}

/// The seconds that it took; none where there was nothing to run.
std::optional<double> EngineThread::step() {
  if (engine_.is_idle()) return std::nullopt;
  steps_.fetch_add(1, std::memory_order_relaxed);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Event> events = engine_.step();
  const double seconds = seconds_since(begin);
  for (Event& event : events) {
    const auto place = tickets_.find(event.sequence);
    if (place == tickets_.end()) continue;  // cancelled
    const int64_t ticket = place->second;
    if (event.finish != FinishReason::kNone) sequences_.erase(ticket), tickets_.erase(place);
    event.sequence = ticket;
    news_.push_back({.event = std::move(event)});
  }
  return seconds;
}

/// The device failed: what runs on it is lost, and so is what comes.
void EngineThread::fail(const std::string& reason) {
  for (const auto& [ticket, number] : sequences_) {
    news_.push_back({.event = {.sequence = ticket}, .failure = reason});
  }
  sequences_.clear(), tickets_.clear();
  const std::scoped_lock lock(mutex_);
  failure_ = reason;
}

/// Tells the stats; the tokens that came since they were told last.
int64_t EngineThread::publish() {
  const EngineStats stats = engine_.stats();
  const std::scoped_lock lock(mutex_);
  return tokens_of(stats) - tokens_of(std::exchange(stats_, stats));
}

}  // namespace hypenet
