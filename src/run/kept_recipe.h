// recipe.json of a run's folder: the resolved recipe with absolute paths, so that the run goes on
// from any working folder without its options typed again.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/json.h"

namespace hypenet {

/// The file of a run of `command` ("convert", "train") in `folder`. Throws Error when there is
/// none, or one of another command.
std::filesystem::path kept_recipe(const std::filesystem::path& folder, std::string_view command);

/// Throws Error when `folder` has a recipe.json that no run wrote: it is somebody's recipe.
void check_kept_recipe(const std::filesystem::path& folder);

/// Writes the file, in place of one that an earlier run wrote. Throws Error as check_kept_recipe.
void keep_recipe(const std::filesystem::path& folder, std::string_view command, const Json& recipe);

}  // namespace hypenet
