// The engine decides how many run at once; here only enough are queued to keep it busy.
#include "eval/respondent.h"

#include "base/error.h"
#include "engine/answers.h"

namespace hypenet {

void ModelRespondent::score(std::span<const ScoredRow> rows, const RowBatches& batches,
                            const OnScores& on_scores) {
  const auto on_row = [&](size_t row, const auto& scores) { on_scores(0, row, scores); };
  engine_.score(rows, {.batches = &batches, .on_row = on_row});
}

void ModelRespondent::generate(std::span<const Request> requests, const AnswerUse& use) {
  constexpr size_t kMostQueued = 256;
  Answers answers(engine_);
  const auto add = [&](size_t place) {
    answers.add(
        requests[place],
        [&, place](const Event& event) {
          return !use.on_token || use.on_token(0, place, event.id);
        },
        [&, place](const Completion& answer) {
          check_finite(
              concat("eval: logits after a prompt of ", requests[place].prompt.size(), " tokens"),
              answer);
          use.on_answer(0, place, answer.ids);
        });
  };
  size_t next = 0;
  for (bool goes_on = !requests.empty(); goes_on;) {
    while (next < requests.size() && answers.size() < kMostQueued) add(next++);
    goes_on = answers.step() || next < requests.size();
    if (use.on_step) use.on_step();
  }
}

}  // namespace hypenet
