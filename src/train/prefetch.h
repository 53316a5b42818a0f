// The next step's batch, made by a thread of its own while the device works on this one.
#pragma once

#include <functional>
#include <future>

#include "data/batches.h"

namespace hypenet {

/// Gives this rank's rows of a step's batch, on the CPU. A function of the step alone; threads may
/// call it at the same time.
using BatchSource = std::function<Batch(int64_t step)>;

class Prefetch {
 public:
  /// Starts on the batch of step `first`; none from `end` on is made. With `is_pinned` batches lie
  /// in page-locked memory, from which a copy to the GPU needs no wait.
  Prefetch(BatchSource source, int64_t first, int64_t end, bool is_pinned);

  /// The batch of the first step, then of the one after, and so on up to end - 1; starts on the
  /// one after it. Throws what the source threw.
  Batch next();

  // The destructor waits for the batch that is being made.

 private:
  void start();

  BatchSource source_;
  int64_t step_, end_;
  bool is_pinned_;
  std::future<Batch> made_;  // of step_
};

}  // namespace hypenet
