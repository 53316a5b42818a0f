// How many threads of arithmetic this process can run side by side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace hypenet {

/// The physical cores that this process may run on, at least 1: the CPUs of its affinity mask, the
/// hyperthreads of a core counted once, but no more than its control groups' share of CPU time,
/// rounded up.
int64_t physical_cores();

/// The same for the CPUs `allowed` as the files under `root` describe them: sys/devices/system/cpu,
/// sys/fs/cgroup (version 1 or 2) and proc/self/cgroup. What is missing there limits nothing.
int64_t physical_cores(const std::filesystem::path& root, std::span<const int> allowed);

}  // namespace hypenet
