// proc/self/cgroup has lines "id:controllers:/group", without controllers in version 2.
#include "base/control_groups.h"

#include <fstream>
#include <string>

namespace hypenet {

namespace fs = std::filesystem;

std::vector<fs::path> control_group_folders(const fs::path& root, std::string_view controller) {
  const fs::path version_2 = root / "sys/fs/cgroup", version_1 = version_2 / controller;
  // A container sees its own group as the topmost one, whatever its name outside.
  std::vector<fs::path> folders = {version_2, version_1};
  const auto add = [&](const fs::path& mounted, fs::path group) {
    for (; group != group.parent_path(); group = group.parent_path()) {
      folders.push_back(mounted / group.relative_path());
    }
  };
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") add(version_2, group);
    if (controllers.find("," + std::string(controller) + ",") != std::string::npos) {
      add(version_1, group);
    }
  }
  return folders;
}

}  // namespace hypenet
