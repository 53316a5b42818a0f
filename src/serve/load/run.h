// Runs a load test against a server of OpenAI's API.
#pragma once

#include <functional>
#include <vector>

#include "serve/load/figures.h"
#include "serve/load/options.h"

namespace hypenet {

struct LoadProgress {
  int64_t ended = 0, failed = 0, all = 0, under_way = 0;
  double seconds = 0;
  bool is_warm_up = false;
};

struct LoadResult {
  std::vector<RequestRecord> records;
  double seconds = 0;  // from the first request to the last answer
  std::optional<double> server_cpu_seconds;
};

/// `watch` is called several times a second and may throw, which ends the test. Throws Error where
/// the server cannot be reached, names no model, or fails a request of the warm-up.
LoadResult run_load(const LoadOptions& options,
                    const std::function<void(const LoadProgress&)>& watch);

}  // namespace hypenet
