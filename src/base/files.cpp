// Files in one piece: a write goes to a temporary name and is renamed, a mapping lasts as long as
// its owner.
#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/write_all.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const fs::path& path, std::string_view action) {
  throw Error(concat(path.string(), ": cannot ", action, ": ", std::strerror(errno)));
}

constexpr int kReading = O_RDONLY | O_NONBLOCK;  // a pipe is refused, not waited for

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (value_ < 0) fail(path, "open");
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

size_t file_size(int descriptor, const fs::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail(path, "read");
  HYPENET_CHECK(S_ISREG(status.st_mode), path.string(), ": expected a file, found ",
                kind_of_file(path));
  return static_cast<size_t>(status.st_size);
}

}  // namespace

void flush_folder(const fs::path& folder) {
  const Descriptor descriptor(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY);
  ::fsync(descriptor.get());
}

void write_all(int descriptor, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail(path, "write");
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string read_file(const fs::path& path) {
  const Descriptor descriptor(path, kReading);
  std::string bytes(file_size(descriptor.get(), path), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(descriptor.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "read");
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

namespace {

/// The empty file under its temporary name, which no other process has; a link is not followed.
int open_temporary(const fs::path& target, const fs::path& temporary) {
  HYPENET_CHECK(!is_stream(target), target.string(),
                ": expected a file, which is written whole, found a device or a pipe");
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) fail(temporary, "create");
  struct stat opened {};
  struct stat named {};
  const bool is_locked = ::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  // Another writer may have put it in place between the two calls above.
  const bool is_same = ::fstat(file, &opened) == 0 && ::lstat(temporary.c_str(), &named) == 0 &&
                       opened.st_ino == named.st_ino;
  if (is_locked || !is_same || !S_ISREG(opened.st_mode)) {
    ::close(file);
    throw Error(
        concat(temporary.string(), ": expected no other process that writes it, found one"));
  }
  if (struct stat older{}; ::stat(target.c_str(), &older) == 0) {
    ::fchmod(file, older.st_mode & ALLPERMS);  // what is replaced keeps its mode
  }
  if (::ftruncate(file, 0) == 0) return file;
  const int reason = errno;
  ::close(file);
  errno = reason;
  fail(temporary, "write");
}

}  // namespace

FileWriter::FileWriter(fs::path target)
    : target_(fs::is_symlink(target) ? fs::weakly_canonical(target) : std::move(target)),
      temporary_(target_.string() + std::string(kPartialEnding)) {
  descriptor_ = open_temporary(target_, temporary_);
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void FileWriter::write(const void* data, size_t bytes) {
  write_all(descriptor_, {static_cast<const char*>(data), bytes}, target_);
}

void FileWriter::commit() {
  if (::fsync(descriptor_) != 0) fail(target_, "write");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(target_, "rename into place");
  ::close(descriptor_);
  descriptor_ = -1;
  flush_folder(target_.parent_path());
}

bool is_stream(const fs::path& path) {
  std::error_code ignored;
  // What a process has open may be a plain file too.
  const bool is_open_file =
      fs::read_symlink(path, ignored).native().starts_with("/proc/") ||
      fs::canonical(path.parent_path(), ignored).native().starts_with("/proc/");
  return is_open_file || fs::is_other(fs::status(path, ignored));
}

void check_writable(const fs::path& path) {
  HYPENET_CHECK(!fs::is_directory(path), path.string(), ": expected a file, found a folder");
  const bool is_in_place = is_stream(path);
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path& opened = is_in_place ? path : folder;
  if (::access(opened.c_str(), is_in_place ? W_OK : W_OK | X_OK) != 0) fail(path, "write");
}

void write_file(const fs::path& path, std::string_view bytes) {
  if (is_stream(path)) {
    const Descriptor stream(path, O_WRONLY | O_APPEND);
    return write_all(stream.get(), bytes, path);
  }
  FileWriter writer(path);
  writer.write(bytes);
  writer.commit();
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor descriptor(path, kReading);
  size_ = file_size(descriptor.get(), path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (address == MAP_FAILED) fail(path, "map");
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace hypenet
