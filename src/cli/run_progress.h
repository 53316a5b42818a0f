// Progress of training runs: stage, step, loss, learning rate, tokens/s and time left.
#pragma once

#include <chrono>
#include <string>

#include "cli/progress.h"
#include "train/loop.h"

namespace hypenet {

/// Draws what a run reports on standard error.
class RunProgress : public Observer {
 public:
  void on_step(const StepReport& report) override;
  void on_note(const std::string& text) override;
  void on_progress(const std::string& stage, int64_t done, int64_t total) override;

 private:
  std::string time_left(const std::string& stage, int64_t done, int64_t total);

  Progress progress_;
  // Where the counting of a stage began: what was done before takes no time.
  std::string counted_ = {};
  int64_t first_done_ = 0;
  std::chrono::steady_clock::time_point began_ = {};
};

}  // namespace hypenet
