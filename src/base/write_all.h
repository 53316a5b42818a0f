// What is behind everything that base writes.
#pragma once

#include <filesystem>
#include <string_view>

namespace hypenet {

/// Writes all bytes to an open descriptor, of the file or stream `path`. Throws Error with the
/// system's reason.
void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path);

/// Flushes the names in a folder: a rename outlives a power cut only after this. Empty is the
/// current folder.
void flush_folder(const std::filesystem::path& folder);

}  // namespace hypenet
