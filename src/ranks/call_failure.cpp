// The lines are those of c10d's ProcessGroupNCCL (getNcclErrorDetailStr).
#include "ranks/call_failure.h"

#include "base/error.h"
#include "base/readable_bytes.h"

namespace hypenet {
namespace {

std::string_view line_at(std::string_view text, size_t begin) {
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

std::string call_failure(std::string_view error, int64_t free_bytes, int64_t total_bytes) {
  constexpr std::string_view kLastError = "\nLast error:\n";
  constexpr int64_t kLittle = 100;
  std::string line(line_at(error, 0));
  if (const size_t place = error.find(kLastError); place != std::string_view::npos) {
    const std::string_view last = line_at(error, place + kLastError.size());
    if (!last.empty()) line += concat(": ", last);
  }
  if (free_bytes < total_bytes / kLittle) {
    line += concat("; the GPU's memory is full: ", readable_bytes(free_bytes), " of ",
                   readable_bytes(total_bytes), " are free");
  }
  return line;
}

}  // namespace hypenet
