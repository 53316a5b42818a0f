// Where Linux says what this process's control groups may use.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace hypenet {

/// The folders that may limit what this process has of `controller` ("cpu", "memory"): its control
/// group's and those of the groups around it, as they are seen under `root` (sys/fs/cgroup, version
/// 1 or 2, and proc/self/cgroup). Some may not be there.
std::vector<std::filesystem::path> control_group_folders(const std::filesystem::path& root,
                                                         std::string_view controller);

}  // namespace hypenet
