// The ranks of a job that runs, by the process that started them; and ranks started by hand.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <fstream>
#include <string>
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

/// What a launcher gives to one of two ranks on this host, as a shell's settings of variables.
inline std::string environment_of_rank(int64_t rank) {
  return concat("RANK=", rank, " LOCAL_RANK=", rank, " WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 ",
                "MASTER_PORT=", 20000 + ::getpid() % 20000);
}

}  // namespace hypenet::testing_support
