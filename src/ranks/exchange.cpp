// A rank that has told waits for the others', which come within a step of theirs.
#include "ranks/exchange.h"

#include <utility>

namespace hypenet {
namespace {

constexpr std::chrono::seconds kBetween{1};

}  // namespace

bool Exchange::is_due() {
  ranks_.give_sign();
  return ranks_.ranks().count == 1 || Clock::now() - last_ >= kBetween;
}

bool Exchange::tell(bool goes_on) {
  for (const std::string& found : ranks_.gather_bytes(std::exchange(found_, {}))) hear_(found);
  const bool any_goes_on = ranks_.any(goes_on);
  last_ = Clock::now();
  return any_goes_on;
}

}  // namespace hypenet
