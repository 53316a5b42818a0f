// poll, because signals reach a thread of their own and interrupt no read of this one.
#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace hypenet {

bool LineReader::take_line(std::string& line) {
  const size_t end = buffer_.find('\n');
  if (end == std::string::npos && !(has_ended_ && !buffer_.empty())) return false;
  line = buffer_.substr(0, end);
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

LineStatus LineReader::read(std::string& line) {
  while (!take_line(line)) {
    if (has_ended_) return LineStatus::kEnd;
    std::array<pollfd, 2> watched = {pollfd{interrupts_, POLLIN, 0}, pollfd{input_, POLLIN, 0}};
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      HYPENET_CHECK(errno == EINTR, "standard input: ", std::strerror(errno));
      continue;
    }
    if (watched[0].revents != 0) {
      buffer_.clear();
      return LineStatus::kInterrupted;
    }
    std::array<char, 4096> bytes;
    const auto count = ::read(input_, bytes.data(), bytes.size());
    HYPENET_CHECK(count >= 0 || errno == EINTR, "standard input: ", std::strerror(errno));
    if (count == 0) has_ended_ = true;
    if (count > 0) buffer_.append(bytes.data(), static_cast<size_t>(count));
  }
  return LineStatus::kLine;
}

}  // namespace hypenet
