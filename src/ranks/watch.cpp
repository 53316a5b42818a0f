// Each rank looks at the next one only, so that the store is asked a few things a second a rank,
// however many there are.
#include "ranks/watch.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <limits>

namespace hypenet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kBetweenLooks{500};
constexpr seconds kMostSilence{15};       // of a rank whose thread beats twice a second
constexpr seconds kUntilACauseShows{20};  // more than that, so that who is gone is named
constexpr seconds kToEnd{3};

const std::string kFault = "fault";

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string key(const char* what, int64_t rank) { return concat(what, "/", rank); }

}  // namespace

std::string name_here(const Ranks& ranks) {
  return concat("rank ", ranks.index, " on ", host_name());
}

bool claim_fault(c10d::Store& store, const Ranks& ranks, const std::string& text) {
  const std::string own = concat(ranks.index, ": ", text);  // others may find the same
  return store.compareSet(kFault, "", own) == own;
}

Watch::Watch(Store store, Ranks ranks, seconds patience,
             std::function<void(const std::string&)> tell)
    : store_(std::move(store)), ranks_(ranks), patience_(patience), tell_(std::move(tell)) {
  store_->set(key("host", ranks_.index), host_name());
  thread_ = std::thread([this] { run(); });
}

Watch::~Watch() { stop(); }

void Watch::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Watch::report(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (has_fault_) return false;
  has_fault_ = true;
  changed_.notify_all();
  return claim_fault(*store_, ranks_, text);
}

void Watch::throw_cause(const std::string& failure) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kUntilACauseShows, [this] { return has_fault_; });
  lock.unlock();
  const std::string text = concat(name_of(ranks_.index), ": lost the others: ", failure);
  if (report(text)) tell_(text);
  throw OtherRankFailed(text);
}

std::string Watch::name_of(int64_t rank) {
  std::string host = "an unknown host";
  try {
    host = get(key("host", rank));
  } catch (const std::exception&) {  // the store is gone, or the rank never came
  }
  return concat("rank ", rank, " on ", host);
}

std::string Watch::get(const std::string& key) {
  return store_->check({key}) ? store_->get_to_str(key) : "";
}

void Watch::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kBetweenLooks, [this] { return is_stopped_ || has_fault_; })) {
    lock.unlock();
    try {
      look();
    } catch (const std::exception&) {
      // The store is gone, and with it who keeps it. One rank says so.
      if (ranks_.index == 1) tell_("rank 0: gone, and with it the store where ranks meet");
      end_soon("");
    }
    lock.lock();
  }
}

/// Whoever was stopped itself (Ctrl-Z, a machine that sleeps) has not seen what the others did.
void Watch::forgive_own_sleep() {
  const auto now = Clock::now();
  if (now - looked_at_ > kMostSilence / 3) next_beat_at_ = own_signs_at_ = now;
  looked_at_ = now;
}

void Watch::look() {
  forgive_own_sleep();
  store_->set(key("work", ranks_.index), concat(calls_.load(), " ", signs_.load()));
  store_->add(key("beat", ranks_.index), 1);
  if (store_->check({kFault})) return end_soon("");
  look_at_next_rank();
  look_for_hung_rank();
}

void Watch::look_at_next_rank() {
  const int64_t next = (ranks_.index + 1) % ranks_.count;
  const int64_t beat = store_->add(key("beat", next), 0);
  const auto now = Clock::now();
  if (beat != next_beat_) next_beat_ = beat, next_beat_at_ = now;
  if (now - next_beat_at_ > kMostSilence)
    end_soon(concat(name_of(next), ": gone: no sign of life for ", kMostSilence.count(), " s"));
}

/// When nothing has happened here for too long, the rank that all wait for is the one with the
/// fewest calls; it may be at work.
void Watch::look_for_hung_rank() {
  const auto now = Clock::now();
  const int64_t own = calls_ + signs_;
  if (own != own_signs_) own_signs_ = own, own_signs_at_ = now;
  if (now - own_signs_at_ < patience_) return;
  int64_t last = 0, fewest = std::numeric_limits<int64_t>::max();
  std::string work;
  for (int64_t rank = 0; rank < ranks_.count; ++rank) {
    const std::string of_rank = get(key("work", rank));
    const int64_t calls = std::atoll(of_rank.c_str());
    if (calls < fewest) last = rank, fewest = calls, work = of_rank;
  }
  // Looked at once more after the same time: has it moved?
  const std::string seen = key("seen", ranks_.index);
  const bool is_hung = get(seen) == concat(last, " ", work);
  store_->set(seen, concat(last, " ", work));
  own_signs_at_ = now;
  if (is_hung)
    end_soon(concat(name_of(last), ": hangs: no progress for ", patience_.count(), " s or more"));
}

/// The work may be in a call that never returns.
void Watch::end_soon(const std::string& fault) {
  if (!fault.empty() && report(fault)) tell_(fault);
  {
    const std::lock_guard lock(mutex_);
    has_fault_ = true;
  }
  changed_.notify_all();
  std::this_thread::sleep_for(kToEnd);
  std::_Exit(1);
}

}  // namespace hypenet
