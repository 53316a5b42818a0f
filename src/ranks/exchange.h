// What ranks find while each goes on at its own pace, told to all of them about once a second:
// nobody waits at every turn for the slowest, and little is lost when the job is killed.
#pragma once

#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ranks/ranks.h"

namespace hypenet {

/// Appends a value for other ranks as it lies in memory: the hosts of a job are of one kind.
template <class Value>
void append(std::string& bytes, const Value& value) {
  static_assert(std::is_trivially_copyable_v<Value>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Appends a list after its length.
template <class Value>
void append(std::string& bytes, const std::vector<Value>& values) {
  static_assert(std::is_trivially_copyable_v<Value>);
  append(bytes, values.size());
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
}

/// Reads what was appended, in that order. The bytes have to outlive it.
class Records {
 public:
  explicit Records(std::string_view bytes) : left_(bytes) {}

  bool is_at_end() const { return left_.empty(); }

  template <class Value>
  Value next() {
    Value value;
    take(&value, sizeof value);
    return value;
  }

  template <class Value>
  std::vector<Value> next_list() {
    std::vector<Value> values(next<size_t>());
    take(values.data(), values.size() * sizeof(Value));
    return values;
  }

 private:
  void take(void* place, size_t size) {
    HYPENET_CHECK(size <= left_.size(), "ranks: expected ", size, " bytes more, found ",
                  left_.size());
    if (size > 0) std::memcpy(place, left_.data(), size);
    left_.remove_prefix(size);
  }

  std::string_view left_;
};

class Exchange {
 public:
  /// `hear` gets what each rank has found since the last time, in the order of the ranks: every
  /// rank hears the same. It may throw to stop.
  Exchange(Communicator& ranks, std::function<void(const std::string& found)> hear)
      : ranks_(ranks), hear_(std::move(hear)) {}

  /// What this rank has found and not told, to be appended to.
  std::string& found() { return found_; }

  /// Whether a rank whose work goes on should tell now; where there is one, always. To be asked
  /// often: it counts as a sign of life.
  bool is_due();

  /// Tells what was found, as often on every rank. Returns whether `goes_on` holds on any.
  bool tell(bool goes_on);

 private:
  using Clock = std::chrono::steady_clock;

  Communicator& ranks_;
  std::function<void(const std::string&)> hear_;
  std::string found_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace hypenet
