// Whole files, atomic writes and read-only mappings. A write appears under its name complete or not
// at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hypenet {

/// The bytes of a file. Throws Error naming the path and the system's reason.
std::string read_file(const std::filesystem::path& path);

/// The ending of the temporary names of files and folders that are being written. It names this
/// program, so that what is found under such a name is what an earlier run left, and no user's.
inline constexpr std::string_view kPartialEnding = ".hypenet-partial";

/// A file being written under a temporary name beside its target, or beside what a link of that
/// name points to. `commit` flushes it to the device and renames it into place; without commit the
/// destructor removes it, and the target stays as it was. It keeps the mode of what it replaces. A
/// device as target, another writer of it, and a failed write (a full disk) throw Error with a
/// path.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path target);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  int descriptor_ = -1;
};

/// Writes the whole file through a FileWriter; into a stream, as it stands.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Whether the name is that of a device, a FIFO or an open file (/dev/stdout), which no file may
/// take the place of.
bool is_stream(const std::filesystem::path& path);

/// Throws Error, before any work is done, where write_file would fail: for a path that is a folder,
/// or in none that can be written.
void check_writable(const std::filesystem::path& path);

/// A file mapped read-only into memory; pages are read when touched.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hypenet
