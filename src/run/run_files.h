// The files that a run writes beside its stages' folders.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/folder_lock.h"
#include "run/run.h"

namespace hypenet {

/// How the name of a stage's saved state ends.
inline constexpr std::string_view kStateEnding = ".state.safetensors";

/// Where a run goes that is not told: out/<the recipe's file name>.
std::filesystem::path default_out(const std::filesystem::path& recipe);

/// Throws Error unless the file, one beside the steps' folders, is by its content what a run writes
/// under that name.
void check_run_file(const std::filesystem::path& path);

/// Makes options.out, and throws Error on each rank that does not see what the first rank writes
/// there. All ranks call it.
void check_shared_disk(const RunOptions& options);

/// Makes options.out, and throws Error unless a run can write into it: also for a recipe.json that
/// no run wrote, for folders in the place of the run's files, and while another run is at work
/// there, which is what the lock keeps out.
FolderLock prepare_out(const RunOptions& options);

}  // namespace hypenet
