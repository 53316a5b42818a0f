// Cuts from the left, each the nearest that the rule allows.
#include "engine/grid.h"

#include <algorithm>

#include "base/error.h"

namespace hypenet {
namespace {

int64_t least_piece(PromptMark::Kind kind, const Grid& grid) {
  switch (kind) {
    case PromptMark::Kind::kTurn:
      return grid.least;
    case PromptMark::Kind::kSystemEnd:
      return kLeastSystem;
    case PromptMark::Kind::kClient:
      return kLeastClient;
  }
  throw Error("grid: unknown kind of mark");
}

}  // namespace

std::vector<int64_t> prefill_cuts(int64_t tokens, std::span<const PromptMark> marks,
                                  const Grid& grid) {
  std::vector<PromptMark> ordered(marks.begin(), marks.end());
  std::ranges::sort(ordered, {}, &PromptMark::position);
  std::vector<int64_t> cuts;
  int64_t last = 0;
  const auto fill_up_to = [&](int64_t position) {
    while (position - last > grid.chunk) cuts.push_back(last += grid.chunk);
  };
  for (const PromptMark& mark : ordered) {
    if (mark.position > tokens) break;
    fill_up_to(mark.position);
    if (mark.position - last < std::max<int64_t>(least_piece(mark.kind, grid), 1)) continue;
    cuts.push_back(last = mark.position);
  }
  fill_up_to(tokens);
  if (tokens - last == grid.chunk) cuts.push_back(tokens);
  return cuts;
}

void check_marks(std::span<const PromptMark> marks, int64_t tokens) {
  int64_t of_client = 0;
  for (const PromptMark& mark : marks) {
    HYPENET_CHECK(mark.position >= 0 && mark.position <= tokens,
                  "generate: marks: expected positions from 0 to ", tokens, ", found ",
                  mark.position);
    of_client += mark.kind == PromptMark::Kind::kClient ? 1 : 0;
  }
  HYPENET_CHECK(of_client <= PromptMark::kMostOfClient, "generate: marks: expected at most ",
                PromptMark::kMostOfClient, " of the client, found ", of_client);
}

}  // namespace hypenet
