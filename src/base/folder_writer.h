// Whole folders: complete under their name or not there. What the program did not write is never
// removed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// What a folder of one kind holds, which tells those that this program wrote from all others.
struct FolderKind {
  std::string_view name;                // for errors: "a token dataset"
  std::string_view mark;                // the file that every such folder has
  std::vector<std::string_view> files;  // its other files, as shell patterns: "tokens-*.bin"
};

/// Throws Error, before any work is done, unless `target` can be written as a folder of this kind:
/// it is new, or empty, or holds the kind's mark and no file of another name. Refused are also the
/// current folder and those around it, mount points, links to nothing and files. A link to a folder
/// stands for that folder; a slash at the end does not matter.
void check_folder(const std::filesystem::path& target, const FolderKind& kind);

/// Removes a folder that check_folder accepts; nothing happens when there is none. Throws Error for
/// any other.
void remove_folder(const std::filesystem::path& target, const FolderKind& kind);

/// A folder being filled under a temporary name beside its target. `commit` renames it to the
/// target and removes an older folder of the same kind; without commit the destructor removes it,
/// and the target stays as it was. When what was written cannot be put in place, it stays, and the
/// Error says where.
class FolderWriter {
 public:
  /// Throws Error as check_folder does, for another writer of it, or strangers' files in path().
  FolderWriter(const std::filesystem::path& target, FolderKind kind);
  ~FolderWriter();
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  /// Where to write.
  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  void make_temporary();
  /// Where the older folder now is; empty when there was none.
  std::filesystem::path put_in_place();

  FolderKind kind_;
  std::filesystem::path target_, temporary_;
  int lock_ = -1;
  bool is_kept_ = false;
};

}  // namespace hypenet
