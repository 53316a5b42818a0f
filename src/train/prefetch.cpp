// A future a step: its destructor joins the thread, and get() passes an exception on.
#include "train/prefetch.h"

namespace hypenet {

Prefetch::Prefetch(BatchSource source, int64_t first, int64_t end, bool is_pinned)
    : source_(std::move(source)), step_(first), end_(end), is_pinned_(is_pinned) {
  start();
}

void Prefetch::start() {
  if (step_ >= end_) return;
  made_ = std::async(std::launch::async, [source = source_, step = step_, pinned = is_pinned_] {
    const Batch batch = source(step);
    if (!pinned) return batch;
    return batch.map([](const Tensor& tensor) { return tensor.pin_memory(); });
  });
}

Batch Prefetch::next() {
  Batch batch = made_.get();
  ++step_;
  start();
  return batch;
}

}  // namespace hypenet
