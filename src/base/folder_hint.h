// Paths that are taken for model folders and are something near to one.
#pragma once

#include <filesystem>

namespace hypenet {

/// Throws Error unless the path is a folder with a config.json. It says what to do for the name of
/// a model on Hugging Face's hub, and names model folders inside, as a conversion's folder has
/// them.
void check_model_folder(const std::filesystem::path& folder);

}  // namespace hypenet
