// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace hypenet {

/// Bytes of the host's memory that programs can take without pushing others out, and no more than
/// this process's control groups have left; what the system keeps of files counts as free.
int64_t available_memory();

/// The same as the files under `root` describe it: proc/meminfo, sys/fs/cgroup (version 1 or 2) and
/// proc/self/cgroup. What is missing there limits nothing.
int64_t available_memory(const std::filesystem::path& root);

}  // namespace hypenet
