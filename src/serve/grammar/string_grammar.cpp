// A pattern becomes EBNF as it is read. What is taken means the same in every dialect, and matches
// at least one string, as no place is left without a character.
#include "serve/grammar/string_grammar.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace hypenet {

namespace {

// Characters of a pattern, repeats written out: more could take seconds to compile, and a group of
// many forms repeated a second for a mask.
constexpr int64_t kMostPatternSize = 64, kMostNestedSize = 24, kMostFormatSize = 1'000;

/// Characters that a place of a pattern may have.
struct CharacterSet {
  std::array<bool, 128> ascii{};
  bool others = false;  // all that are not ASCII

  void add(const CharacterSet& more) {
    for (size_t i = 0; i < ascii.size(); ++i) ascii[i] |= more.ascii[i];
    others |= more.others;
  }

  CharacterSet inverted() const {
    CharacterSet inverse;
    for (size_t i = 0; i < ascii.size(); ++i) inverse.ascii[i] = !ascii[i];
    inverse.others = !others;
    return inverse;
  }

  static CharacterSet range(char first, char last) {
    CharacterSet set;
    for (int c = first; c <= last; ++c) set.ascii[static_cast<size_t>(c)] = true;
    return set;
  }
};

/// Of \d, \w, \s and their opposites; nullopt: another character.
std::optional<CharacterSet> named_class(char name) {
  CharacterSet set;
  const char lower = static_cast<char>(name | 0x20);
  if (lower == 'd' || lower == 'w') set = CharacterSet::range('0', '9');
  if (lower == 'w') {
    set.add(CharacterSet::range('a', 'z'));
    set.add(CharacterSet::range('A', 'Z'));
    set.add(CharacterSet::range('_', '_'));
  }
  if (lower == 's') set = CharacterSet::range(' ', ' ');  // the others need escapes
  if (lower != 'd' && lower != 'w' && lower != 's') return std::nullopt;
  return name == lower ? set : set.inverted();
}

/// As EBNF, without what a JSON string writes otherwise; "": nothing is left.
std::string class_of(const CharacterSet& set) {
  constexpr std::string_view kSyntax = "^$.*+?()[]{}|/-";
  std::string listed;
  for (size_t i = 0x20; i < set.ascii.size(); ++i) {
    const char c = static_cast<char>(i);
    if (set.ascii[i] == set.others || c == '"' || c == '\\' || i == 0x7F) continue;
    if (kSyntax.find(c) != kSyntax.npos) listed += '\\';
    listed += c;
  }
  if (set.others) return concat("[^\\0-\\x1f\\\"\\\\", listed, "]");
  return listed.empty() ? "" : concat("[", listed, "]");
}

/// Writes a pattern piece by piece as EBNF.
class PatternScan {
 public:
  PatternScan(std::string_view pattern, int64_t most) : rest_(pattern), most_(most) {}

  std::optional<std::string> run() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      const bool is_begin = c == '^' && is_empty_;
      const bool is_end = c == '$' && (rest_.size() == 1 || rest_[1] == '|');
      if (sizes_.size() == 1 && (is_begin || is_end)) {
        rest_.remove_prefix(1);
      } else if (!take_piece() || sizes_.back() > most_) {
        return std::nullopt;
      }
    }
    end_branch();
    return sizes_.size() == 1 ? std::optional(ebnf_) : std::nullopt;
  }

 private:
  bool take_piece() {
    const char c = next();
    if (c < ' ' || c > '~') return false;
    switch (c) {
      case '"':
      case '^':
      case '$':
      case ']':
      case '}':
        return false;
      case '[':
        return take_class();
      case '(':
        return take_opening();
      case ')':
        return take_closing();
      case '{':
        return take_repeat();
      case '*':
      case '+':
      case '?':
        return add_repeat(std::string(1, c), 1);
      case '.':
        return add_piece(class_of(CharacterSet{}.inverted()), 1);
      case '\\': {
        std::optional<CharacterSet> set = take_escape();
        return set && add_piece(class_of(*set), 1);
      }
      case '|':
        end_branch();
        ebnf_ += " | ";
        is_empty_ = true;
        may_repeat_ = false;
        return true;
      default:
        return add_piece(class_of(CharacterSet::range(c, c)), 1);
    }
  }

  char next() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  bool add_piece(const std::string& piece, int64_t size) {
    if (piece.empty()) return false;
    ebnf_ += piece + " ";
    is_empty_ = false;
    may_repeat_ = true;
    last_ = size;
    last_varies_ = false;
    sizes_.back() += size;
    return true;
  }

  bool add_repeat(std::string_view repeat, int64_t most) {
    if (!may_repeat_) return false;
    ebnf_.back() = ' ';
    ebnf_.insert(ebnf_.size() - 1, repeat);
    may_repeat_ = false;
    sizes_.back() += last_ * (most - 1);
    varies_.back() = true;
    return !(last_varies_ && most > 1 && most_ == kMostPatternSize &&
             last_ * most > kMostNestedSize);
  }

  void end_branch() {
    if (is_empty_) ebnf_ += "\"\" ";
    is_empty_ = false;
  }

  /// A class of characters, or a character that stands for itself.
  std::optional<CharacterSet> take_escape() {
    constexpr std::string_view kItself = ".-^$*+?()[]{}|/,:;@#!%&=~<> '`_";
    if (rest_.empty()) return std::nullopt;
    const char c = next();
    if (kItself.find(c) != kItself.npos) return CharacterSet::range(c, c);
    return named_class(c);
  }

  bool take_class() {
    const bool is_inverted = !rest_.empty() && rest_.front() == '^';
    if (is_inverted) next();
    CharacterSet set;
    while (!rest_.empty() && rest_.front() != ']') {
      if (!take_member(set)) return false;
    }
    if (rest_.empty()) return false;
    next();
    return add_piece(class_of(is_inverted ? set.inverted() : set), 1);
  }

  /// A character, a class or a range within [...].
  bool take_member(CharacterSet& set) {
    const char first = next();
    if (first < ' ' || first > '~') return false;
    if (first == '\\') {
      const std::optional<CharacterSet> escaped = take_escape();
      if (escaped) set.add(*escaped);
      return escaped.has_value();
    }
    if (rest_.size() < 2 || rest_[0] != '-' || rest_[1] == ']') {
      set.add(CharacterSet::range(first, first));
      return true;
    }
    const char last = rest_[1];
    if (last < first || last > '~' || last == '\\') return false;
    rest_.remove_prefix(2);
    set.add(CharacterSet::range(first, last));
    return true;
  }

  bool take_opening() {
    if (!rest_.empty() && rest_.front() == '?') {
      if (!rest_.starts_with("?:")) return false;
      rest_.remove_prefix(2);
    }
    sizes_.push_back(0);
    varies_.push_back(false);
    ebnf_ += "(";
    is_empty_ = true;
    may_repeat_ = false;
    return true;
  }

  bool take_closing() {
    if (sizes_.size() == 1) return false;
    end_branch();
    const int64_t size = sizes_.back();
    sizes_.pop_back();
    const bool varies = varies_.back();
    varies_.pop_back();
    add_piece(")", size);
    last_varies_ = varies;
    return true;
  }

  /// {n}, {n,} or {n,m}.
  bool take_repeat() {
    constexpr std::string_view kDigits = "0123456789";
    const size_t end = rest_.find('}');
    if (end == rest_.npos) return false;
    const std::string_view inside = rest_.substr(0, end);
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
    rest_.remove_prefix(end + 1);
    return add_repeat(concat("{", inside, "}"), std::max(to, int64_t{1}));
  }

  std::string_view rest_;
  const int64_t most_;
  std::string ebnf_;
  bool is_empty_ = true;             // nothing came yet of this branch
  bool may_repeat_ = false;          // what came last is a piece
  std::vector<int64_t> sizes_{0};    // of the open groups, outermost first
  std::vector<bool> varies_{false};  // of the open groups: whether they have repeats
  bool last_varies_ = false;
  int64_t last_ = 0;  // of the piece that a repeat would repeat
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
constexpr std::string_view kHostname = "[a-z0-9]+(-[a-z0-9]+)*(\\.[a-z0-9]+(-[a-z0-9]+)*)*";
constexpr std::string_view kByte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

std::optional<std::string> format_pattern(std::string_view format) {
  if (format == "date") return std::string(kDate);
  if (format == "time") return std::string(kTime);
  if (format == "date-time") return concat(kDate, "T", kTime);
  if (format == "duration") return std::string(kDuration);
  if (format == "hostname") return std::string(kHostname);
  if (format == "email") {
    return concat("[A-Za-z0-9_+\\-]+(\\.[A-Za-z0-9_+\\-]+)*@", kHostname, "\\.[a-z]{2,8}");
  }
  if (format == "ipv4") return concat("(", kByte, "\\.){3}", kByte);
  if (format == "ipv6") return "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}";
  if (format == "uuid") return "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
  if (format == "uri") {
    return "[a-z][a-z0-9+.\\-]*:(//)?([A-Za-z0-9._~!$&'()*+,;=:@/?\\-]|%[0-9A-F]{2})+";
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> pattern_grammar(std::string_view pattern) {
  return PatternScan(pattern, kMostPatternSize).run();
}

std::optional<std::string> format_grammar(std::string_view format) {
  const std::optional<std::string> pattern = format_pattern(format);
  return pattern ? PatternScan(*pattern, kMostFormatSize).run() : std::nullopt;
}

}  // namespace hypenet
