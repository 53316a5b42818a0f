// The largest unit that leaves at least one; one digit after the point.
#include "base/readable_bytes.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <iomanip>
#include <optional>
#include <sstream>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr double kGib = 1 << 30, kMost = 1LL << 60;

/// What one of the unit is in bytes; nothing for an unknown one.
std::optional<double> bytes_of(std::string unit) {
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (unit.empty()) return kGib;
  if (unit == "B") return 1;
  const size_t power = std::string_view("KMGT").find(unit[0]);
  const std::string rest = unit.substr(1);
  if (power == std::string_view::npos || !(rest.empty() || rest == "IB" || rest == "B")) {
    return std::nullopt;
  }
  return std::pow(rest == "B" ? 1000.0 : 1024.0, static_cast<double>(power + 1));
}

}  // namespace

std::string readable_bytes(int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return concat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.95 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return concat(std::fixed, std::setprecision(1), value, " ", kUnits[unit]);
}

int64_t parse_bytes(std::string_view text, std::string_view place) {
  double number = 0;
  const char* const end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number);
  while (error == std::errc() && stop != end && *stop == ' ') ++stop;
  const auto unit = error == std::errc() ? bytes_of({stop, end}) : std::nullopt;
  const double bytes = unit ? number * *unit : -1;
  HYPENET_CHECK(bytes >= 0 && bytes <= kMost, place,
                ": expected a size such as 8G or 512M (a number alone counts GiB), found \"", text,
                "\"");
  return static_cast<int64_t>(bytes);
}

}  // namespace hypenet
