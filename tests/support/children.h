// The ranks of a job that runs, by the process that started them.
#pragma once

#include <sys/types.h>

#include <fstream>
#include <vector>

#include "base/error.h"

namespace hypenet::testing_support {

/// The processes that this one started and that are still there.
inline std::vector<pid_t> children_of(pid_t process) {
  std::ifstream file(concat("/proc/", process, "/task/", process, "/children"));
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;) children.push_back(child);
  return children;
}

}  // namespace hypenet::testing_support
