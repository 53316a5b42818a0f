// Linux tells all of it in small files; a CPU whose files are missing counts as a core.
#include "base/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace hypenet {
namespace {

namespace fs = std::filesystem;

/// The first line of a file; empty when there is none.
std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// CPUs' worth of time from a quota and its period in microseconds; infinite without a quota.
double share(const std::string& quota_and_period) {
  double quota = 0, period = 0;
  std::istringstream in(quota_and_period);
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return INFINITY;
  return quota / period;
}

/// The least share of a control group and all those around it. `folder` is where the tree of groups
/// is mounted.
double least_share(const fs::path& folder, fs::path group) {
  double least = INFINITY;
  for (;; group = group.parent_path()) {
    const fs::path place = folder / group.relative_path();
    least = std::min(least, share(first_line(place / "cpu.max")));
    least = std::min(least, share(first_line(place / "cpu.cfs_quota_us") + " " +
                                  first_line(place / "cpu.cfs_period_us")));
    if (group == group.parent_path()) return least;
  }
}

/// The share of CPU time of this process's control groups: lines "id:controllers:/group", without
/// controllers in version 2.
double group_share(const fs::path& root) {
  const fs::path mounted = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  double least = std::min(least_share(mounted, "/"), least_share(mounted / "cpu", "/"));
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") least = std::min(least, least_share(mounted, group));
    if (controllers.find(",cpu,") != std::string::npos) {
      least = std::min(least, least_share(mounted / "cpu", group));
    }
  }
  return least;
}

std::vector<int> allowed_cpus() {
  std::vector<int> allowed;
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &mask)) allowed.push_back(cpu);
    }
  } else {  // more CPUs than a mask holds
    for (unsigned cpu = 0; cpu < std::thread::hardware_concurrency(); ++cpu) {
      allowed.push_back(static_cast<int>(cpu));
    }
  }
  return allowed;
}

}  // namespace

int64_t physical_cores(const fs::path& root, std::span<const int> allowed) {
  std::set<std::string> cores;  // by the list of their CPUs
  for (const int cpu : allowed) {
    const std::string name = "cpu" + std::to_string(cpu);
    const std::string siblings =
        first_line(root / "sys/devices/system/cpu" / name / "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? name : siblings);
  }
  const double limit = std::ceil(std::min(group_share(root), static_cast<double>(cores.size())));
  return std::max<int64_t>(1, static_cast<int64_t>(limit));
}

int64_t physical_cores() { return physical_cores("/", allowed_cpus()); }

}  // namespace hypenet
