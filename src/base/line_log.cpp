// Appending through one descriptor that holds the lock.
#include "base/line_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/write_all.h"

namespace hypenet {
namespace {

bool has_keys_of(const Json& header, std::string_view line) {
  const std::optional<Json> found = try_parse_json(line);
  if (!found || !found->is_object()) return false;
  return std::all_of(header.items().begin(), header.items().end(),
                     [&](const auto& item) { return found->contains(item.key()); });
}

}  // namespace

LineLog::LineLog(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  HYPENET_CHECK(descriptor_ >= 0, path_.string(), ": cannot open: ", std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  ::close(descriptor_);
  HYPENET_CHECK(error == EWOULDBLOCK, path_.string(), ": cannot lock: ", std::strerror(error));
  throw Error(concat(path_.string(), ": expected no other process that writes it, found one"));
}

LineLog::~LineLog() { ::close(descriptor_); }

std::string LineLog::read() const { return read_file(path_); }

std::string LineLog::whole_lines(const Json& header, std::string_view owner) const {
  std::string text = read();
  const size_t whole = text.rfind('\n') + 1, first = text.find('\n') + 1;  // npos + 1 is 0
  const bool is_ours = whole > 0 ? has_keys_of(header, std::string_view(text).substr(0, first))
                                 : std::string_view(header.dump()).starts_with(text);
  HYPENET_CHECK(is_ours, path_.string(), ":1: expected a journal of ", owner,
                ", found another file");
  text.resize(whole == first ? 0 : whole);
  return text;
}

void LineLog::cut(size_t bytes) {
  HYPENET_CHECK(::ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0, path_.string(),
                ": cannot write: ", std::strerror(errno));
}

void LineLog::append(std::string_view lines) { write_all(descriptor_, lines, path_); }

}  // namespace hypenet
