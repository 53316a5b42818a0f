// Open files and connections.
#pragma once

#include <sys/resource.h>

namespace hypenet {

/// As many as this process may have: a connection is a descriptor, and the usual soft limit ends
/// before a thousand clients.
inline void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace hypenet
