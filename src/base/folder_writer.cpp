// Whose folder it is, is asked twice: before any work, and again before the old one goes.
#include "base/folder_writer.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/write_all.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// The folder itself: without links, dots and a slash at the end.
fs::path resolve(const fs::path& target) {
  HYPENET_CHECK(!target.empty(), "expected the name of a folder, found none");
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(target), error);
  HYPENET_CHECK(!error, target.string(), ": cannot open: ", error.message());
  return path.has_filename() ? path : path.parent_path();
}

bool is_around(const fs::path& folder, const fs::path& inner) {
  return std::mismatch(folder.begin(), folder.end(), inner.begin(), inner.end()).first ==
         folder.end();
}

bool is_mount_point(const fs::path& folder) {
  struct statx status {};
  return ::statx(AT_FDCWD, folder.c_str(), 0, 0, &status) == 0 &&
         (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

bool is_of_kind(const fs::directory_entry& entry, const FolderKind& kind) {
  if (entry.is_directory() && !entry.is_symlink()) return false;
  const std::string name = entry.path().filename().string();
  return name == kind.mark || std::ranges::any_of(kind.files, [&](std::string_view pattern) {
           return ::fnmatch(std::string(pattern).c_str(), name.c_str(), FNM_PERIOD) == 0;
         });
}

/// What is in an existing folder that a folder of this kind does not hold; empty when it may go.
std::string foreign_content(const fs::path& folder, const FolderKind& kind) {
  bool is_empty = true, is_marked = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!is_of_kind(entry, kind)) return concat("one that holds ", name);
    is_empty = false;
    is_marked = is_marked || name == kind.mark;
  }
  return is_empty || is_marked ? "" : concat("one without ", kind.mark);
}

/// Throws Error unless a folder of this temporary name is what an interrupted run left.
void check_left_behind(const fs::path& temporary, const FolderKind& kind) {
  if (!fs::exists(fs::symlink_status(temporary))) return;
  const std::string expected =
      concat(temporary.string(), ": expected what an interrupted run left there, found ");
  HYPENET_CHECK(fs::is_directory(fs::symlink_status(temporary)), expected, "something else");
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary)) {
    const std::string name = entry.path().filename().string();
    const bool is_ours =
        is_of_kind(entry, kind) || (name.ends_with(kPartialEnding) && entry.is_regular_file());
    HYPENET_CHECK(is_ours, expected, name);
  }
}

/// `path` is resolved, `target` as the user has it.
void check_resolved(const fs::path& path, const fs::path& target, const FolderKind& kind) {
  const std::string expected =
      concat(target.string(), ": expected a new or empty folder, or ", kind.name, ", found ");
  HYPENET_CHECK(!fs::is_symlink(path), expected, "a link to nothing");
  if (!fs::exists(path)) return;
  HYPENET_CHECK(fs::is_directory(path), expected, "a file");
  HYPENET_CHECK(!is_around(path, fs::current_path()), expected,
                "the folder that this runs in (name one inside it)");
  HYPENET_CHECK(!is_mount_point(path), expected, "a mount point (name a folder inside it)");
  const std::string foreign = foreign_content(path, kind);
  HYPENET_CHECK(foreign.empty(), expected, foreign);
}

/// Removes the files of the kind, and the folder once it is empty.
void remove_files(const fs::path& folder, const FolderKind& kind) {
  const std::vector<fs::directory_entry> entries(fs::directory_iterator(folder), {});
  for (const fs::directory_entry& entry : entries) {
    if (is_of_kind(entry, kind)) fs::remove(entry.path());
  }
  std::error_code error;
  fs::remove(folder, error);
  HYPENET_CHECK(!error, folder.string(), ": cannot remove: ", error.message());
}

/// Runs the function; a failed call of std::filesystem becomes an Error.
template <class Function>
void with_errors(const fs::path& target, const Function& function) {
  try {
    function();
  } catch (const fs::filesystem_error& error) {
    throw Error(concat(error.path1().empty() ? target.string() : error.path1().string(),
                       ": cannot open: ", error.code().message()));
  }
}

}  // namespace

void check_folder(const fs::path& target, const FolderKind& kind) {
  with_errors(target, [&] { check_resolved(resolve(target), target, kind); });
}

void remove_folder(const fs::path& target, const FolderKind& kind) {
  with_errors(target, [&] {
    const fs::path path = resolve(target);
    check_resolved(path, target, kind);
    if (fs::exists(path)) remove_files(path, kind);
  });
}

FolderWriter::FolderWriter(const fs::path& target, FolderKind kind)
    : kind_(std::move(kind)),
      target_(resolve(target)),
      temporary_(target_.string() + std::string(kPartialEnding)) {
  with_errors(target, [&] { check_resolved(target_, target, kind_); });
  with_errors(target, [&] { make_temporary(); });
}

FolderWriter::~FolderWriter() {
  std::error_code ignored;
  if (!is_kept_) fs::remove_all(temporary_, ignored);
  ::close(lock_);
}

void FolderWriter::make_temporary() {
  const auto open = [&] { return ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); };
  const auto is_locked = [](int folder) { return ::flock(folder, LOCK_EX | LOCK_NB) != 0; };
  const int left = open();
  const bool is_in_use = left >= 0 && is_locked(left);
  if (left >= 0) ::close(left);
  HYPENET_CHECK(!is_in_use, temporary_.string(),
                ": expected no other process that writes it, found one");
  check_left_behind(temporary_, kind_);
  std::error_code error;
  fs::remove_all(temporary_, error);
  fs::create_directories(temporary_, error);
  HYPENET_CHECK(!error, temporary_.string(), ": cannot create the folder: ", error.message());
  if (fs::exists(target_)) fs::permissions(temporary_, fs::status(target_).permissions());
  lock_ = open();
  HYPENET_CHECK(lock_ >= 0 && !is_locked(lock_), temporary_.string(),
                ": cannot lock: ", std::strerror(errno));
}

fs::path FolderWriter::put_in_place() {
  const auto rename = [](const fs::path& from, const fs::path& to, unsigned flags) {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0;
  };
  const auto check = [&](bool done) {
    HYPENET_CHECK(done, target_.string(), ": cannot rename into place: ", std::strerror(errno));
  };
  if (!fs::exists(target_)) {
    check(rename(temporary_, target_, 0));
    return {};
  }
  // The two change places in one step, so that no moment is without either.
  if (rename(temporary_, target_, RENAME_EXCHANGE)) return temporary_;
  const fs::path older = target_.string() + ".hypenet-older";  // a file system that cannot exchange
  check(rename(target_, older, 0));
  if (!rename(temporary_, target_, 0)) {
    const int reason = errno;
    rename(older, target_, 0);
    errno = reason;
    check(false);
  }
  return older;
}

void FolderWriter::commit() {
  is_kept_ = true;
  fs::path older;
  try {
    with_errors(target_, [&] {
      check_resolved(target_, target_, kind_);
      older = put_in_place();
    });
  } catch (const Error& error) {
    throw Error(concat(error.what(), "; what was to be written is in ", temporary_.string()));
  }
  flush_folder(target_.parent_path());
  if (!older.empty()) with_errors(older, [&] { remove_files(older, kind_); });
}

}  // namespace hypenet
