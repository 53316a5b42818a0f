// Appending through one descriptor that holds the lock.
#include "base/line_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace hypenet {

LineLog::LineLog(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  HYPENET_CHECK(descriptor_ >= 0, path_.string(), ": cannot open: ", std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(descriptor_);
  throw Error(concat(path_.string(), ": expected no other process that writes it, found one"));
}

LineLog::~LineLog() { ::close(descriptor_); }

std::string LineLog::read() const { return read_file(path_); }

void LineLog::cut(size_t bytes) {
  HYPENET_CHECK(::ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0, path_.string(),
                ": cannot write: ", std::strerror(errno));
}

void LineLog::append(std::string_view lines) {
  while (!lines.empty()) {
    const ssize_t count = ::write(descriptor_, lines.data(), lines.size());
    if (count < 0 && errno == EINTR) continue;
    HYPENET_CHECK(count > 0, path_.string(), ": cannot write: ", std::strerror(errno));
    lines.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace hypenet
