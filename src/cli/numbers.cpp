// Digits in groups, tokens and times in units.
#include "cli/numbers.h"

#include <fmt/format.h>

#include <cmath>

namespace hypenet {

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t place = digits.size(); place > first + 3;) digits.insert(place -= 3, ",");
  return digits;
}

std::string readable_tokens(int64_t tokens) {
  constexpr int64_t kThousand = 1 << 10, kMillion = 1 << 20;
  if (tokens >= kMillion && tokens % kMillion == 0) return fmt::format("{}M", tokens / kMillion);
  if (tokens >= kThousand && tokens % kThousand == 0) return fmt::format("{}K", tokens / kThousand);
  return with_commas(tokens);
}

std::string readable_seconds(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

}  // namespace hypenet
