// How the ranks of a job look after each other, so that none waits for one that will not come.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "ranks/ranks.h"

namespace hypenet {

/// "rank 2 on HOST", of a rank on this host.
std::string name_here(const Ranks& ranks);

/// Makes `text`, of this rank, the job's fault unless there is one. Returns whether it is.
bool claim_fault(c10d::Store& store, const Ranks& ranks, const std::string& text);

/// A thread beside a rank's work. It tells the store that the rank is alive and looks whether the
/// next rank is. The first fault in the store is the job's: whoever finds it there ends.
class Watch {
 public:
  using Store = c10::intrusive_ptr<c10d::Store>;

  /// `store` is used by this object alone. `tell` shows the line of a fault that this rank is the
  /// first to find; after it the process ends within a few seconds (exit code 1), whatever its
  /// other threads do.
  Watch(Store store, Ranks ranks, std::chrono::seconds patience,
        std::function<void(const std::string&)> tell);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// The work has come to its next call of the Communicator, or shows that it goes on.
  void count_call() { ++calls_; }
  void give_sign() { ++signs_; }

  /// Makes `text` the job's fault unless there is one. Returns whether it is.
  bool report(const std::string& text);

  /// Waits for the cause of a call that failed here, as it does when another rank is gone; when no
  /// cause shows, the failure itself is one. Throws OtherRankFailed.
  [[noreturn]] void throw_cause(const std::string& failure);

  /// From now on nobody is missed.
  void stop();

  /// "rank 2 on HOST".
  std::string name_of(int64_t rank);

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void look();
  void forgive_own_sleep();
  void look_at_next_rank();
  void look_for_hung_rank();
  std::string get(const std::string& key);
  void end_soon(const std::string& fault);

  Store store_;
  Ranks ranks_;
  std::chrono::seconds patience_;
  std::function<void(const std::string&)> tell_;
  std::atomic<int64_t> calls_{0}, signs_{0};

  // Of the thread.
  Clock::time_point looked_at_ = Clock::now();
  int64_t next_beat_ = 0, own_signs_ = 0;
  Clock::time_point next_beat_at_ = Clock::now(), own_signs_at_ = Clock::now();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stopped_ = false, has_fault_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace hypenet
