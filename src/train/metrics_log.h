// metrics.jsonl: one JSON object a report. After a resume it reads as if there had been no
// interruption.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "train/loop.h"

namespace hypenet {

class MetricsLog {
 public:
  /// Opens folder/metrics.jsonl for appending; lines of this stage past `step` (written after the
  /// last saved state) and a torn last line are dropped first.
  MetricsLog(const std::filesystem::path& folder, const std::string& stage, int64_t step);

  /// Appends a line and flushes it. Throws Error when the disk refuses it.
  void write(const StepReport& report);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace hypenet
