// --cache-dir and --cache-disk of `hypenet serve`: kept prompts that outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "cli/serve_model.h"

namespace hypenet {

/// Gives each engine a folder of its own in this one, and an equal share of the bytes (-1: half of
/// what is free there with what is kept, at most 64 GiB). What engines beyond these left becomes
/// the others'. Returns what the start tells. Throws Error where the folder cannot be used or
/// another process has it.
std::string keep_on_disk(OpenedModel& opened, const std::filesystem::path& folder, int64_t bytes);

}  // namespace hypenet
