// poll, because signals reach a thread of their own and interrupt no read of this one.
#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <vector>

#include "base/error.h"

namespace hypenet {

size_t wait_for_input(std::initializer_list<int> descriptors) {
  std::vector<pollfd> watched;
  for (const int descriptor : descriptors) watched.push_back({descriptor, POLLIN, 0});
  while (::poll(watched.data(), watched.size(), -1) < 0) {
    HYPENET_CHECK(errno == EINTR, "standard input: ", std::strerror(errno));
  }
  const auto first =
      std::find_if(watched.begin(), watched.end(), [](const pollfd& each) { return each.revents; });
  return static_cast<size_t>(first - watched.begin());
}

std::string read_ready(int input) {
  std::array<char, 4096> bytes;
  ssize_t count = -1;
  while (count < 0) {
    count = ::read(input, bytes.data(), bytes.size());
    HYPENET_CHECK(count >= 0 || errno == EINTR, "standard input: ", std::strerror(errno));
  }
  return {bytes.data(), static_cast<size_t>(count)};
}

bool LineReader::take_line(std::string& line) {
  const size_t end = buffer_.find('\n');
  if (end == std::string::npos && !(has_ended_ && !buffer_.empty())) return false;
  line = buffer_.substr(0, end);
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

LineStatus LineReader::read(std::string& line) {
  std::cout << prompt_ << std::flush;
  while (!take_line(line)) {
    if (has_ended_) return LineStatus::kEnd;
    if (wait_for_input({interrupts_, input_}) == 0) {
      buffer_.clear();
      return LineStatus::kInterrupted;
    }
    const std::string bytes = read_ready(input_);
    has_ended_ = bytes.empty();
    buffer_ += bytes;
  }
  return LineStatus::kLine;
}

}  // namespace hypenet
