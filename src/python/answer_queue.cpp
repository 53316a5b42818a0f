// One lock a queue: whoever writes to its file does so under it, so that no closed file is written.
#include "python/answer_queue.h"

#include <unistd.h>

#include <chrono>
#include <iterator>
#include <utility>

#include "base/error.h"

namespace hypenet {

AnswerQueue::AnswerQueue(int64_t answers) : process_(::getpid()), open_(answers) {}

/// Under the lock.
void AnswerQueue::wake() {
  has_news_.notify_all();
  const uint64_t one = 1;
  // A full counter has news enough; nobody is to learn of a closed file here.
  if (file_ >= 0) [[maybe_unused]]
    const ssize_t written = ::write(file_, &one, sizeof one);
}

void AnswerQueue::push(AnswerPiece piece) {
  const std::scoped_lock lock(mutex_);
  if (!piece.finish.empty()) --open_;
  pieces_.push_back(std::move(piece));
  wake();
}

void AnswerQueue::fail(const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  if (!failure_ && open_ > 0) failure_ = reason;
  wake();
}

std::vector<AnswerPiece> AnswerQueue::take(double seconds) {
  HYPENET_CHECK(process_ == ::getpid(), "answer: asked for in process ", process_,
                ", to whose fork it does not come: load the model in each process");
  std::unique_lock lock(mutex_);
  has_news_.wait_for(lock, std::chrono::duration<double>(seconds),
                     [&] { return failure_ || !pieces_.empty() || open_ == 0; });
  if (failure_) throw Error(*failure_);
  std::vector<AnswerPiece> taken(std::make_move_iterator(pieces_.begin()),
                                 std::make_move_iterator(pieces_.end()));
  pieces_.clear();
  return taken;
}

bool AnswerQueue::is_done() const {
  const std::scoped_lock lock(mutex_);
  return !failure_ && pieces_.empty() && open_ == 0;
}

void AnswerQueue::notify(int file) {
  const std::scoped_lock lock(mutex_);
  file_ = file;
  if (failure_ || !pieces_.empty() || open_ == 0) wake();
}

}  // namespace hypenet
