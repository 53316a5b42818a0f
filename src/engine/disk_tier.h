// A prefix store on a thread of its own, so that no step waits for a disk.
#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/prefix_store.h"

namespace hypenet {

/// Jobs one after the other, reads before all else but what was asked of the same piece earlier.
class DiskTier {
 public:
  enum class Kind { kRead, kWrite, kRemove };
  struct Job {
    Kind kind = Kind::kRead;
    StoredPiece piece = {};
    std::vector<Tensor> pages = {};  // what is written, or where to; nobody else touches them
    Tensor states = {};
    int64_t ticket = 0;
    int64_t bytes = 0;         // of a write that is done
    std::string failure = {};  // of one that failed
  };

  explicit DiskTier(std::shared_ptr<PrefixStore> store);
  /// What is under way ends; what waits is dropped.
  ~DiskTier();
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;

  void add(Job job);

  /// Those that ended since the last call.
  std::vector<Job> take_done();

  /// Returns when some job ended or none is left, or after so long.
  void wait_for_one(std::chrono::milliseconds longest);
  void wait_for_all();

  /// Bytes a second that reads had lately.
  double read_rate() const;

 private:
  void run();
  std::list<Job>::iterator next();
  void work(Job& job);

  std::shared_ptr<PrefixStore> store_;
  std::string last_failure_;  // of the thread alone
  mutable std::mutex mutex_;
  std::condition_variable has_job_, has_done_;
  std::list<Job> jobs_;
  std::vector<Job> done_;
  bool is_working_ = false, ends_ = false;
  double read_rate_ = 2e9;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace hypenet
