// The loop behind everything that base writes.
#pragma once

#include <filesystem>
#include <string_view>

namespace hypenet {

/// Writes all bytes to an open descriptor, of the file or stream `path`. Throws Error with the
/// system's reason.
void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path);

}  // namespace hypenet
