// Examples drawn with the harness's generator and seed.
#include "eval/few_shot.h"

#include <numeric>
#include <utility>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr uint64_t kSeed = 1234;

}  // namespace

FewShotExamples::FewShotExamples(std::vector<std::string> examples, int64_t shots, ExampleDraw draw,
                                 std::string_view task)
    : examples_(std::move(examples)), shots_(shots), draw_(draw), random_(kSeed) {
  const auto count = static_cast<int64_t>(examples_.size());
  const int64_t needed = shots + (draw == ExampleDraw::kOneMore && shots > 0 ? 1 : 0);
  HYPENET_CHECK(shots >= 0, task, ": expected a number of examples (shots), found ", shots);
  HYPENET_CHECK(needed <= count, task, ": expected at least ", needed, " examples for ", shots,
                " shots, found ", count);
}

std::vector<int64_t> FewShotExamples::draw_places() {
  const auto count = static_cast<int64_t>(examples_.size());
  switch (draw_) {
    case ExampleDraw::kRandom:
      return random_.sample(count, shots_);
    case ExampleDraw::kOneMore:
      return random_.sample(count, shots_ + 1);
    case ExampleDraw::kFirst:
      break;
  }
  std::vector<int64_t> places(static_cast<size_t>(shots_));
  std::iota(places.begin(), places.end(), 0);
  return places;
}

std::string FewShotExamples::next(std::string_view own) {
  std::string text;
  if (shots_ == 0) return text;
  int64_t taken = 0;
  for (const int64_t place : draw_places()) {
    const std::string& example = examples_[static_cast<size_t>(place)];
    if (example == own || taken == shots_) continue;
    text += example + "\n\n";
    ++taken;
  }
  return text;
}

}  // namespace hypenet
