// Sampling as a model folder asks for it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "engine/options.h"

namespace hypenet {

/// The name of a setting as its source spells it: "--top-p", or "file: top_p".
using SettingName = std::function<std::string(const char* key)>;

/// Throws Error naming a setting of SamplingOptions::visit that is out of its range.
void check_settings(const SamplingOptions& options, const SettingName& name);

/// The defaults, and whatever the folder's generation_config.json says otherwise (do_sample, and
/// the keys of SamplingOptions::visit), where there is one. Throws Error naming file and key for an
/// impossible value.
SamplingOptions read_generation_config(const std::filesystem::path& folder,
                                       const SamplingOptions& defaults);

}  // namespace hypenet
