// A folder that one process at a time works in.
#pragma once

#include <filesystem>
#include <utility>

namespace hypenet {

/// Locks an existing folder until it is destroyed or the process ends; leaves no file. Where the
/// file system knows no locks nothing is locked.
class FolderLock {
 public:
  FolderLock() = default;

  /// Throws Error when another process has it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

 private:
  int descriptor_ = -1;
};

}  // namespace hypenet
