// What one rendering may cost, and the fault that builtins throw. A template is data from
// strangers: whatever it does is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>

#include "base/error.h"
#include "text/jinja/template.h"

namespace hypenet::jinja {

/// A failure at a place that only the evaluator knows.
struct Fault {
  std::string text;
};

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Fault{concat(parts...)};
}

class Work {
 public:
  Work(const JinjaLimits& limits, const std::tm& now) : now(now), limits_(limits) {}

  /// One turn of a loop.
  void turn() { spend(turns_, 1, limits_.turns, " turns of its loops"); }
  /// One expression or statement.
  void step() { spend(steps_, 1, limits_.steps, " steps"); }
  /// Values put into lists.
  void items(size_t count) { spend(items_, count, limits_.items, " list items"); }
  /// A text of this size is made.
  void text(size_t size) {
    this->size(size);
    make(size + kEach);
  }
  /// A text has grown to this size.
  void size(size_t size) const {
    if (size > limits_.text_bytes) fail_over(limits_.text_bytes, " bytes of text");
  }
  /// A text of this size is looked through.
  void look(size_t size) { make(size / 8); }

  const std::tm now;

 private:
  static constexpr size_t kEach = 128;  // what a short text takes all the same

  [[noreturn]] static void fail_over(uint64_t most, const char* what) {
    fail("expected a template that needs at most ", most, what, ", found more");
  }
  static void spend(uint64_t& spent, uint64_t more, uint64_t most, const char* what) {
    spent += more;
    if (spent > most) fail_over(most, what);
  }
  void make(uint64_t bytes) {
    spend(made_, bytes, limits_.made_bytes, " bytes of text made on the way");
  }

  JinjaLimits limits_;
  uint64_t turns_ = 0, steps_ = 0, items_ = 0, made_ = 0;
};

}  // namespace hypenet::jinja
