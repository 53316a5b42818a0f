// One line a report.
#include "cli/run_progress.h"

#include <fmt/format.h>

#include <string_view>

#include "cli/numbers.h"

namespace hypenet {
namespace {

/// What on_progress counts.
std::string_view pieces_of(std::string_view stage) {
  if (stage.starts_with("tokenize")) return "tokens";
  if (stage == "sweep tasks") return "requests";
  return stage.starts_with("sweep") ? "rows" : "parts";
}

}  // namespace

void RunProgress::on_step(const StepReport& report) {
  const std::string text =
      fmt::format("{}: step {}/{}, {} {:.4f}, lr {:.2e}, {} tokens/s, {} left", report.stage,
                  report.step, report.steps, report.loss_name, report.loss, report.learning_rate,
                  with_commas(static_cast<int64_t>(report.tokens_per_second)),
                  readable_seconds(report.seconds_left));
  if (report.step == report.steps) {
    progress_.finish(text);
  } else {
    progress_.show(text);
  }
}

void RunProgress::on_note(const std::string& text) { progress_.finish(text); }

std::string RunProgress::time_left(const std::string& stage, int64_t done, int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (counted_ != stage || done < first_done_) counted_ = stage, first_done_ = done, began_ = now;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  constexpr double kLeastSeconds = 2;  // before that it would be a guess
  if (done == first_done_ || seconds < kLeastSeconds) return "";
  const double rate = static_cast<double>(done - first_done_) / seconds;
  return fmt::format(", {} left", readable_seconds(static_cast<double>(total - done) / rate));
}

void RunProgress::on_progress(const std::string& stage, int64_t done, int64_t total) {
  const std::string_view pieces = pieces_of(stage);
  if (total == 0) {
    progress_.show(fmt::format("{}: {} {}", stage, with_commas(done), pieces));
  } else if (done < total) {
    progress_.show(fmt::format("{}: {} of {} {}{}", stage, with_commas(done), with_commas(total),
                               pieces, time_left(stage, done, total)));
  } else {
    progress_.finish(
        fmt::format("{}: {} of {} {}", stage, with_commas(done), with_commas(total), pieces));
  }
}

}  // namespace hypenet
