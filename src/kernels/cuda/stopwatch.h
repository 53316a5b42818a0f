// The time that passes on a stream between two places in it.
#pragma once

#include "kernels/status.h"

namespace hypenet::kernels::cuda {

struct StopwatchParams {
  int64_t* begin;      // nanoseconds of the device's clock
  float* seconds;      // what has been added up
  bool starts = true;  // else the time since `begin` is added
};

/// Reads the device's clock when the stream gets there.
Status stopwatch(const StopwatchParams& params, Stream stream);

}  // namespace hypenet::kernels::cuda
