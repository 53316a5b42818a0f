// What fails is told once until something succeeds again: a full disk fails often.
#include "engine/disk_tier.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/seconds.h"

namespace hypenet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRateOfLatest = 0.3;  // its share in the mean
constexpr int64_t kLeastMeasured = int64_t{1} << 20;

int64_t bytes_of(const DiskTier::Job& job) {
  auto bytes = job.states.defined() ? static_cast<int64_t>(job.states.nbytes()) : 0;
  for (const Tensor& page : job.pages) bytes += static_cast<int64_t>(page.nbytes());
  return bytes;
}

}  // namespace

DiskTier::DiskTier(std::shared_ptr<PrefixStore> store) : store_(std::move(store)) {
  thread_ = std::thread([this] { run(); });
}

DiskTier::~DiskTier() {
  {
    const std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  has_job_.notify_one();
  thread_.join();
}

void DiskTier::add(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  has_job_.notify_one();
}

std::vector<DiskTier::Job> DiskTier::take_done() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(done_, {});
}

void DiskTier::wait_for_one(std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  has_done_.wait_for(lock, longest,
                     [&] { return !done_.empty() || (jobs_.empty() && !is_working_); });
}

void DiskTier::wait_for_all() {
  std::unique_lock lock(mutex_);
  has_done_.wait(lock, [&] { return jobs_.empty() && !is_working_; });
}

double DiskTier::read_rate() const {
  const std::scoped_lock lock(mutex_);
  return read_rate_;
}

/// The first read, or what was asked of its piece before.
std::list<DiskTier::Job>::iterator DiskTier::next() {
  const auto read = std::ranges::find(jobs_, Kind::kRead, &Job::kind);
  if (read == jobs_.end()) return jobs_.begin();
  return std::ranges::find_if(jobs_,
                              [&](const Job& job) { return job.piece.id == read->piece.id; });
}

void DiskTier::run() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      has_job_.wait(lock, [&] { return ends_ || !jobs_.empty(); });
      if (ends_) return;
      const auto place = next();
      job = std::move(*place);
      jobs_.erase(place);
      is_working_ = true;
    }
    const auto began = Clock::now();
    work(job);
    const double seconds = seconds_since(began);
    const int64_t bytes = bytes_of(job);
    const bool is_measured = job.kind == Kind::kRead && bytes >= kLeastMeasured && seconds > 0;
    {
      const std::scoped_lock lock(mutex_);
      if (is_measured) {
        read_rate_ += kRateOfLatest * (static_cast<double>(bytes) / seconds - read_rate_);
      }
      is_working_ = false;
      done_.push_back(std::move(job));
    }
    has_done_.notify_all();
  }
}

void DiskTier::work(Job& job) {
  try {
    switch (job.kind) {
      case Kind::kRead:
        store_->read(job.piece.id, job.pages, job.states);
        break;
      case Kind::kWrite:
        job.bytes = store_->write(job.piece, job.pages, job.states);
        break;
      case Kind::kRemove:
        store_->remove(job.piece.id);
        break;
    }
    if (job.kind != Kind::kRemove) last_failure_.clear();
  } catch (const std::exception& error) {
    job.failure = error.what();
    if (job.failure.empty()) job.failure = "failed";
    if (job.failure == last_failure_) return;
    last_failure_ = job.failure;
    store_->tell(job.failure);
  }
}

}  // namespace hypenet
