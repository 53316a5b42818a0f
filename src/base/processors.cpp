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

#include "base/control_groups.h"

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

/// The share of CPU time of this process's control groups.
double group_share(const fs::path& root) {
  double least = INFINITY;
  for (const fs::path& folder : control_group_folders(root, "cpu")) {
    least = std::min(least, share(first_line(folder / "cpu.max")));
    least = std::min(least, share(first_line(folder / "cpu.cfs_quota_us") + " " +
                                  first_line(folder / "cpu.cfs_period_us")));
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
