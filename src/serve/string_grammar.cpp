// A pattern is scanned, not understood: what passes has the same meaning everywhere and matches
// at least one string.
#include "serve/string_grammar.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace hypenet {

namespace {

constexpr int64_t kMostPatternSize = 10'000;  // characters, repeats written out

/// Copies a pattern piece by piece.
class PatternScan {
 public:
  explicit PatternScan(std::string_view pattern) : rest_(pattern) {}

  std::optional<std::string> run() {
    bool branch_begins = true;
    while (!rest_.empty()) {
      const char c = rest_.front();
      const bool is_begin = c == '^' && branch_begins;
      const bool is_end = c == '$' && (rest_.size() == 1 || rest_[1] == '|');
      if (sizes_.size() == 1 && (is_begin || is_end)) {
        rest_.remove_prefix(1);
      } else if (!take_piece() || sizes_.back() > kMostPatternSize) {
        return std::nullopt;
      }
      branch_begins = c == '|';
    }
    return sizes_.size() == 1 ? std::optional(whole_) : std::nullopt;
  }

 private:
  bool take_piece() {
    const char c = rest_.front();
    if (c < ' ' || c > '~') return false;
    switch (c) {
      case '"':
      case '^':
      case '$':
      case ']':
      case '}':
        return false;
      case '\\':
        return take_escape() && add_piece(1);
      case '[':
        return take_class() && add_piece(1);
      case '(':
        return take_opening();
      case ')':
        return take_closing();
      case '{':
        return take_repeat();
      case '|':
      case '*':
      case '+':
      case '?':
        return take(1);
      default:
        return take(1) && add_piece(1);
    }
  }

  bool take(size_t count) {
    whole_ += rest_.substr(0, count);
    rest_.remove_prefix(count);
    return true;
  }

  bool add_piece(int64_t size) {
    last_ = size;
    sizes_.back() += size;
    return true;
  }

  /// A class of characters, or a character that stands for itself. \s is a space alone: the others
  /// need escapes in JSON.
  bool take_escape() {
    constexpr std::string_view kKept = "dDwW.-^$*+?()[]{}|", kDropped = "/,:;@#!%&=~<> '`_";
    if (rest_.size() < 2) return false;
    if (kKept.find(rest_[1]) != kKept.npos) return take(2);
    if (rest_[1] == 's') {
      whole_ += ' ';
      rest_.remove_prefix(2);
      return true;
    }
    if (kDropped.find(rest_[1]) == kDropped.npos) return false;
    rest_.remove_prefix(1);
    return take(1);
  }

  bool take_class() {
    take(1);
    if (!rest_.empty() && rest_.front() == '^') take(1);
    if (rest_.empty() || rest_.front() == ']') return false;
    while (!rest_.empty() && rest_.front() != ']') {
      const char c = rest_.front();
      if (c < ' ' || c > '~' || c == '"' || c == '[') return false;
      // A class that excludes \D or \W could exclude everything.
      const bool is_wide = rest_.size() > 1 && (rest_[1] == 'D' || rest_[1] == 'W');
      if (c == '\\' ? is_wide || !take_escape() : !take(1)) return false;
    }
    return !rest_.empty() && take(1);
  }

  bool take_opening() {
    const bool has_option = rest_.size() > 1 && rest_[1] == '?';
    if (has_option && rest_.substr(0, 3) != "(?:") return false;
    sizes_.push_back(0);
    return take(has_option ? 3 : 1);
  }

  bool take_closing() {
    if (sizes_.size() == 1) return false;
    const int64_t size = sizes_.back();
    sizes_.pop_back();
    return take(1) && add_piece(size);
  }

  /// {n}, {n,} or {n,m}.
  bool take_repeat() {
    constexpr std::string_view kDigits = "0123456789";
    const size_t end = rest_.find('}');
    if (end == rest_.npos) return false;
    const std::string_view inside = rest_.substr(1, end - 1);
    const size_t comma = std::min(inside.find(','), inside.size());
    const std::string_view least = inside.substr(0, comma);
    const std::string_view most = comma < inside.size() ? inside.substr(comma + 1) : least;
    for (const std::string_view number : {least, most}) {
      if (number.find_first_not_of(kDigits) != number.npos || number.size() > 4) return false;
    }
    if (least.empty()) return false;
    const int64_t from = std::stoll(std::string(least));
    const int64_t to = most.empty() ? from : std::stoll(std::string(most));
    if (to < from) return false;
    sizes_.back() += last_ * to;
    last_ *= std::max(to, int64_t{1});
    return take(end + 1);
  }

  std::string_view rest_;
  std::string whole_;
  std::vector<int64_t> sizes_{0};  // of the open groups, outermost first
  int64_t last_ = 0;               // of the piece that a repeat would repeat
};

/// Days that every year has.
constexpr std::string_view kDate =
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|"
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
constexpr std::string_view kTime =
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?"
    "(Z|[+\\-]([01][0-9]|2[0-3]):[0-5][0-9])";
constexpr std::string_view kDuration =
    "P(([1-9][0-9]{0,3}D|[1-9][0-9]{0,3}M([1-9][0-9]{0,3}D)?|"
    "[1-9][0-9]{0,3}Y([1-9][0-9]{0,3}M([1-9][0-9]{0,3}D)?)?)"
    "(T([1-9][0-9]{0,3}S|[1-9][0-9]{0,3}M([1-9][0-9]{0,3}S)?|"
    "[1-9][0-9]{0,3}H([1-9][0-9]{0,3}M([1-9][0-9]{0,3}S)?)?))?|"
    "T([1-9][0-9]{0,3}S|[1-9][0-9]{0,3}M([1-9][0-9]{0,3}S)?|"
    "[1-9][0-9]{0,3}H([1-9][0-9]{0,3}M([1-9][0-9]{0,3}S)?)?)|[1-9][0-9]{0,3}W)";
constexpr std::string_view kHostname =
    "[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?){0,3}";
constexpr std::string_view kByte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

}  // namespace

std::optional<std::string> whole_pattern(std::string_view pattern) {
  return PatternScan(pattern).run();
}

std::optional<std::string> format_expression(std::string_view format) {
  if (format == "date") return std::string(kDate);
  if (format == "time") return std::string(kTime);
  if (format == "date-time") return concat(kDate, "T", kTime);
  if (format == "duration") return std::string(kDuration);
  if (format == "hostname") return std::string(kHostname);
  if (format == "email") {
    return concat("[A-Za-z0-9_+\\-]{1,32}(\\.[A-Za-z0-9_+\\-]{1,15}){0,2}@", kHostname,
                  "\\.[a-z]{2,16}");
  }
  if (format == "ipv4") return concat("(", kByte, "\\.){3}", kByte);
  if (format == "ipv6") return "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}";
  if (format == "uuid") return "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
  if (format == "uri") {
    return "[a-z][a-z0-9+.\\-]*:(//)?([A-Za-z0-9._~!$&'()*+,;=:@/?\\-]|%[0-9A-F]{2})+";
  }
  return std::nullopt;
}

}  // namespace hypenet
