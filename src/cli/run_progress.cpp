// One line a report.
#include "cli/run_progress.h"

#include <fmt/format.h>

#include "cli/numbers.h"

namespace hypenet {

void RunProgress::on_step(const StepReport& report) {
  const std::string text =
      fmt::format("{}: step {}/{}, loss {:.4f}, lr {:.2e}, {} tokens/s, {} left", report.stage,
                  report.step, report.steps, report.loss, report.learning_rate,
                  with_commas(static_cast<int64_t>(report.tokens_per_second)),
                  readable_seconds(report.seconds_left));
  if (report.step == report.steps) {
    progress_.finish(text);
  } else {
    progress_.show(text);
  }
}

void RunProgress::on_note(const std::string& text) { progress_.finish(text); }

void RunProgress::on_progress(const std::string& stage, int64_t done, int64_t total) {
  if (total == 0) {
    progress_.show(fmt::format("{}: {} done", stage, with_commas(done)));
  } else if (done < total) {
    progress_.show(fmt::format("{}: {} of {}", stage, with_commas(done), with_commas(total)));
  } else {
    progress_.finish(fmt::format("{}: {} of {}", stage, with_commas(done), with_commas(total)));
  }
}

}  // namespace hypenet
