// What a run has written of its losses.
#pragma once

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace hypenet::testing_support {

/// The losses in the order of metrics.jsonl.
inline std::vector<double> logged_losses(const std::filesystem::path& folder) {
  std::vector<double> losses;
  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    losses.push_back(Json::parse(line)["loss"].get<double>());
  }
  return losses;
}

}  // namespace hypenet::testing_support
