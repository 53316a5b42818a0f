// How decode and prefill share the time while both wait.
#pragma once

#include <algorithm>

namespace hypenet {

/// After each piece of a prompt decode steps run until their time is `share` of both, 0 to below 1;
/// 0: a step is enough.
class DecodeShare {
 public:
  explicit DecodeShare(double share) : debt_a_second_(share / (1 - share)) {}

  bool allows_prefill() const { return debt_ <= 0 && (!is_reading_ || debt_a_second_ == 0); }

  /// A piece was queued; how long it takes is known later.
  void begins_prefill() { is_reading_ = true; }
  void prefilled(double seconds) { debt_ += seconds * debt_a_second_, is_reading_ = false; }
  void decoded(double seconds) { debt_ = std::max(0.0, debt_ - seconds); }

 private:
  double debt_a_second_, debt_ = 0;  // seconds that decode is owed
  bool is_reading_ = false;
};

}  // namespace hypenet
