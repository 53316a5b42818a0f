// Where and in which types one test body runs, and how exact it then has to be.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <ostream>

namespace hypenet {

struct Target {
  const char* name;
  torch::DeviceType device;
  torch::ScalarType type, weight_type;
  double tolerance;  // of RMS(error) / RMS(reference)
};

inline void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

}  // namespace hypenet
