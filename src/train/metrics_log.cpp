// Appending to metrics.jsonl, and cutting it back on resume.
#include "train/metrics_log.h"

#include <sstream>

#include "base/files.h"
#include "base/json_text.h"

namespace hypenet {
namespace {

/// Whether a line belongs to what the resumed run will not write again.
bool is_kept(const std::string& line, const std::string& stage, int64_t step) {
  const Json json = try_parse_json(line).value_or(Json());
  if (!json.is_object() || !json.contains("stage") || !json.contains("step") ||
      !json["step"].is_number_integer()) {
    return false;
  }
  return json["stage"] != stage || json["step"].get<int64_t>() <= step;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& folder, const std::string& stage, int64_t step)
    : path_(folder / "metrics.jsonl") {
  if (std::filesystem::exists(path_)) {
    std::istringstream lines(read_file(path_));
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
      if (is_kept(line, stage, step)) kept += line + "\n";
    }
    write_file(path_, kept);
  }
  file_.open(path_, std::ios::app);
  HYPENET_CHECK(file_.good(), path_.string(), ": cannot open for appending");
}

void MetricsLog::write(const StepReport& report) {
  Json json = {{"stage", report.stage},
               {"step", report.step},
               {"steps", report.steps},
               {"loss", report.loss},
               {"loss_name", report.loss_name},
               {"learning_rate", report.learning_rate},
               {"gradient_norm", report.gradient_norm},
               {"tokens_per_second", report.tokens_per_second}};
  if (report.peak_bytes > 0) json["peak_bytes"] = report.peak_bytes;
  if (report.waiting > 0) json["waiting"] = report.waiting;
  if (report.seconds_saving > 0) json["seconds_saving"] = report.seconds_saving;
  file_ << json.dump() << "\n" << std::flush;
  HYPENET_CHECK(file_.good(), path_.string(), ": cannot write: is the disk full?");
}

}  // namespace hypenet
