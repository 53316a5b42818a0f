// A control group's limit, less what it uses and cannot drop.
#include "base/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "base/control_groups.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The file's first number; none where it is not there or says "max".
std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t number = 0;
  return in >> number ? std::optional(number) : std::nullopt;
}

/// The number behind a name, in a file of such lines; none where it is not there.
std::optional<int64_t> number_of(const fs::path& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    int64_t number = 0;
    if (word == name && in >> number) return number;
  }
  return std::nullopt;
}

int64_t left_to_group(const fs::path& folder) {
  const auto either = [&](const char* version_2, const char* version_1) {
    const auto found = number_in(folder / version_2);
    return found ? found : number_in(folder / version_1);
  };
  const auto limit = either("memory.max", "memory.limit_in_bytes");
  const auto used = either("memory.current", "memory.usage_in_bytes");
  if (!limit || !used) return kNoLimit;
  const auto of_files = [&](const char* name) {
    return number_of(folder / "memory.stat", name).value_or(0);
  };
  return std::max<int64_t>(0, *limit - *used + of_files("active_file") + of_files("inactive_file"));
}

}  // namespace

int64_t available_memory(const fs::path& root) {
  constexpr int64_t kKibibyte = 1024;
  const auto of_host = number_of(root / "proc/meminfo", "MemAvailable:");
  int64_t available = of_host ? *of_host * kKibibyte : kNoLimit;
  for (const fs::path& folder : control_group_folders(root, "memory")) {
    available = std::min(available, left_to_group(folder));
  }
  return available;
}

int64_t available_memory() { return available_memory("/"); }

}  // namespace hypenet
