// Oniguruma's own syntax, as its parser reads it: isolated flags reach to the end of their group,
// {n}? is an optional {n}, {n,m}+ repeats a repeat, and a repeat of a repeat becomes one.
#include <array>

#include "base/error.h"
#include "text/regex_cursor.h"
#include "text/regex_tree.h"
#include "text/unicode_table.h"

namespace hypenet {

namespace {

using Kind = RegexNode::Kind;
using Anchor = RegexNode::Anchor;

constexpr int64_t kMostRepeats = 65535;  // PCRE2's limit

struct Flags {
  bool ignores_case = false, dot_is_all = false, is_extended = false;
};

struct Interval {
  int64_t min = 0;
  std::optional<int64_t> max;
  bool is_greedy = true, is_possessive = false;
};

RegexNode set_node(CodeSet set) {
  RegexNode node;
  node.kind = Kind::kSet;
  node.set = std::move(set);
  return node;
}

RegexNode wrap(Kind kind, RegexNode inner) {
  RegexNode node;
  node.kind = kind;
  node.parts.push_back(std::move(inner));
  return node;
}

RegexNode anchor_node(Anchor anchor) {
  RegexNode node;
  node.kind = Kind::kAnchor;
  node.anchor = anchor;
  return node;
}

/// ?, *, +, ??, *? and +? are numbered so; others are -1.
int repeat_type(const RegexNode& node) {
  const int lazy = node.is_greedy ? 0 : 3;
  if (node.min == 0 && node.max == 1) return lazy;
  if (node.min == 0 && !node.max) return lazy + 1;
  return node.min == 1 && !node.max ? lazy + 2 : -1;
}

void set_repeat(RegexNode& node, int type) {
  node.min = type % 3 == 2 ? 1 : 0;
  node.max = type % 3 == 0 ? std::optional<int64_t>(1) : std::nullopt;
  node.is_greedy = type < 3;
}

/// What Oniguruma makes of a repeat around a repeat, by their types (inner, outer): the type of the
/// one that takes both places, kInner, kBoth, or kPlusMaybe (the inner +, the outer ??).
constexpr int kInner = -1, kBoth = -2, kPlusMaybe = -3;
constexpr std::array<std::array<int, 6>, 6> kJoined = {{
    {kInner, 1, 1, 3, 4, kBoth},
    {kInner, kInner, kInner, kPlusMaybe, kPlusMaybe, kInner},
    {1, 1, kInner, kBoth, kPlusMaybe, kInner},
    {kInner, 4, 4, kInner, 4, 4},
    {kInner, kInner, kInner, kInner, kInner, kInner},
    {kBoth, 1, 2, 4, 4, kInner},
}};

RegexNode joined_repeat(RegexNode outer, int inner_type, int outer_type) {
  RegexNode& inner = outer.parts.front();
  const int joined = kJoined[static_cast<size_t>(inner_type)][static_cast<size_t>(outer_type)];
  if (joined == kInner) return RegexNode(std::move(inner));
  if (joined == kPlusMaybe) {
    set_repeat(outer, 3);
    set_repeat(inner, 2);
  } else if (joined != kBoth) {
    set_repeat(outer, joined);
    RegexNode body = std::move(inner.parts.front());
    inner = std::move(body);
  }
  return outer;
}

RegexNode repeat_node(RegexNode target, const Interval& interval) {
  if (interval.min == 1 && interval.max == 1) return target;
  RegexNode node = wrap(Kind::kRepeat, std::move(target));
  node.min = interval.min;
  node.max = interval.max;
  node.is_greedy = interval.is_greedy;
  RegexNode& inner = node.parts.front();
  if (inner.kind != Kind::kRepeat) return node;
  const int inner_type = repeat_type(inner), outer_type = repeat_type(node);
  if (inner_type >= 0 && outer_type >= 0)
    return joined_repeat(std::move(node), inner_type, outer_type);
  const bool repeats_many = inner_type == 1 || inner_type == 2;
  if (repeats_many && node.max && *node.max > 1 && node.is_greedy)
    node.max = node.min == 0 ? 1 : node.min;
  return node;
}

class Parser {
 public:
  Parser(std::string_view source, std::string_view place) : cursor_(source, place) {}

  RegexNode run() {
    RegexNode node = alternation();
    cursor_.check(cursor_.at_end(), "an unmatched )");
    return node;
  }

 private:
  bool at_branch_end() const {
    return cursor_.at_end() || cursor_.comes(U"|") || cursor_.comes(U")");
  }

  RegexNode alternation() {
    cursor_.check(++depth_ < 200, "groups nested too deeply");
    RegexNode node;
    node.kind = Kind::kAlternation;
    node.parts.push_back(sequence());
    while (cursor_.skip(U"|")) {
      letters_.clear();
      node.parts.push_back(sequence());
    }
    --depth_;
    return node.parts.size() == 1 ? RegexNode(std::move(node.parts.front())) : node;
  }

  RegexNode sequence() {
    RegexNode node;
    for (skip_ignored(); !at_branch_end(); skip_ignored()) {
      std::optional<RegexNode> part = atom();
      while (const auto interval = next_interval()) {
        cursor_.check(can_repeat(*part), "a repeat of an anchor");
        *part = repeat_node(std::move(*part), *interval);
        if (interval->is_possessive) *part = wrap(Kind::kAtomic, std::move(*part));
      }
      node.parts.push_back(std::move(*part));
    }
    return node.parts.size() == 1 ? RegexNode(std::move(node.parts.front())) : node;
  }

  /// Comments, and under (?x) white space too.
  void skip_ignored() {
    while (true) {
      if (cursor_.skip(U"(?#")) {
        while (!cursor_.skip(U")")) {
          cursor_.skip(U"\\");
          cursor_.check(!cursor_.at_end(), "a comment without its )");
          cursor_.take();
        }
      } else if (flags_.is_extended && cursor_.comes(U"#")) {
        while (!cursor_.at_end() && cursor_.take() != '\n') continue;
      } else if (!flags_.is_extended || cursor_.at_end() || !is_blank(cursor_.peek())) {
        return;
      } else {
        cursor_.take();
      }
    }
  }

  static bool is_blank(char32_t code) {
    return code == ' ' || code == '\t' || code == '\n' || code == '\r' || code == '\f';
  }

  static bool can_repeat(const RegexNode& node) {
    if (node.kind == Kind::kAnchor || node.kind == Kind::kLook) return false;
    if (node.kind != Kind::kAlternation) return true;
    for (const RegexNode& part : node.parts) {
      if (!can_repeat(part)) return false;
    }
    return true;
  }

  std::optional<Interval> next_interval() {
    skip_ignored();
    Interval interval;
    if (cursor_.comes(U"{")) return braces();
    if (cursor_.skip(U"?")) {
      interval.max = 1;
    } else if (cursor_.skip(U"+")) {
      interval.min = 1;
    } else if (!cursor_.skip(U"*")) {
      return std::nullopt;
    }
    if (cursor_.skip(U"?")) {
      interval.is_greedy = false;
    } else {
      interval.is_possessive = cursor_.skip(U"+");
    }
    return interval;
  }

  std::optional<int64_t> repeats() {
    const size_t begin = cursor_.position();
    int64_t value = 0;
    while (cursor_.peek() >= '0' && cursor_.peek() <= '9') {
      value = value * 10 + static_cast<int64_t>(cursor_.take() - '0');
      cursor_.check(value <= kMostRepeats, "a repeat of more than 65535 times");
    }
    return cursor_.position() == begin ? std::nullopt : std::optional(value);
  }

  /// {n}, {n,}, {n,m} or {,m}; none, and nothing read, for braces that mean themselves.
  std::optional<Interval> braces() {
    const size_t begin = cursor_.position();
    cursor_.take();
    const auto min = repeats();
    const bool has_comma = cursor_.skip(U",");
    const auto max = has_comma ? repeats() : min;
    if ((!min && !max) || !cursor_.skip(U"}")) {
      cursor_.move_to(begin);
      return std::nullopt;
    }
    Interval interval{min.value_or(0), max};
    if (max && interval.min > *max) {
      std::swap(interval.min, *interval.max);
      interval.is_possessive = true;
    } else if (has_comma) {
      interval.is_greedy = !cursor_.skip(U"?");
    }
    return interval;
  }

  RegexNode atom() {
    if (cursor_.skip(U"(")) return group();
    const char32_t code = cursor_.take();
    if (code == '\\') return escape();
    if (code == '*' || code == '+' || code == '?') cursor_.fail("a repeat of nothing");
    if (code == '{') {
      cursor_.move_to(cursor_.position() - 1);
      cursor_.check(!braces(), "a repeat of nothing");
      cursor_.take();
    }
    if (code != '.' && code != '^' && code != '$' && code != '[') return literal(code);
    letters_.clear();
    if (code == '.') return set_node(flags_.dot_is_all ? any() : any_but_newline());
    if (code == '^') return anchor_node(Anchor::kLineBegin);
    if (code == '$') return anchor_node(Anchor::kLineEnd);
    return set_node(parse_regex_class(cursor_, flags_.ignores_case));
  }

  static CodeSet any() { return CodeSet{{0, kLastCode}}; }
  static CodeSet any_but_newline() { return CodeSet{{'\n', '\n'}}.complement(); }

  /// A character that stands for itself, with its other cases under (?i).
  RegexNode literal(char32_t code) {
    CodeSet set{{code, code}};
    if (!flags_.ignores_case) {
      letters_.clear();
      return set_node(std::move(set));
    }
    set = case_closure(set);
    letters_.push_back(set);
    cursor_.check(!has_long_case_fold(set) && !holds_long_case_fold(letters_),
                  "letters under (?i) that are one character in another case");
    return set_node(std::move(set));
  }

  RegexNode escape() {
    cursor_.check(!cursor_.at_end(), "a backslash at the end");
    if (auto node = special_escape()) {
      letters_.clear();
      return std::move(*node);
    }
    return literal(cursor_.character_escape(false));
  }

  std::optional<RegexNode> special_escape() {
    if (auto set = cursor_.class_escape(false)) return set_node(std::move(*set));
    const char32_t letter = cursor_.peek();
    for (const char32_t refused : U"KXyY") {
      if (refused && letter == refused) cursor_.fail(concat("\\", static_cast<char>(refused)));
    }
    const bool names_group = cursor_.peek(1) == '<' || cursor_.peek(1) == '\'';
    if (letter == 'k' && names_group) cursor_.fail("a backreference");
    if (letter == 'g' && names_group) cursor_.fail("a call of a group");
    constexpr std::u32string_view kAnchors = U"AzZGbB";
    constexpr std::array kMeanings = {Anchor::kTextBegin,         Anchor::kTextEnd,
                                      Anchor::kTextEndOrLastLine, Anchor::kSearchBegin,
                                      Anchor::kWordBoundary,      Anchor::kNoWordBoundary};
    const size_t found = kAnchors.find(letter);
    if (found == kAnchors.npos && letter != 'R' && letter != 'N' && letter != 'O')
      return std::nullopt;
    cursor_.take();
    if (found != kAnchors.npos) return anchor_node(kMeanings[found]);
    if (letter == 'R') return line_break();
    return set_node(letter == 'N' ? any_but_newline() : any());
  }

  static RegexNode line_break() {
    RegexNode pair;
    pair.parts = {set_node(CodeSet{{'\r', '\r'}}), set_node(CodeSet{{'\n', '\n'}})};
    RegexNode either;
    either.kind = Kind::kAlternation;
    either.parts = {std::move(pair),
                    set_node(CodeSet{{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}})};
    return wrap(Kind::kAtomic, std::move(either));
  }

  RegexNode group() {
    if (!cursor_.skip(U"?")) {
      cursor_.check(!cursor_.comes(U"*"), "a callout");
      has_plain_group_ = true;
      return wrap(Kind::kGroup, closed(alternation()));
    }
    if (cursor_.skip(U":")) return closed(alternation());
    if (cursor_.skip(U">")) return wrap(Kind::kAtomic, closed(alternation()));
    for (const std::u32string_view sign : {U"=", U"!", U"<=", U"<!"}) {
      if (cursor_.skip(sign)) return look(sign);
    }
    if (cursor_.comes(U"<") || cursor_.comes(U"'")) return named_group();
    return flag_group();
  }

  RegexNode closed(RegexNode node) {
    cursor_.check(cursor_.skip(U")"), "( without its )");
    return node;
  }

  RegexNode look(std::u32string_view sign) {
    RegexNode node = wrap(Kind::kLook, closed(alternation()));
    node.is_behind = sign.front() == '<';
    node.is_negated = sign.back() == '!';
    if (node.is_behind) check_behind(node.parts.front(), true);
    return node;
  }

  /// Characters that `node` is long; none when that varies, or when it holds what Oniguruma does
  /// not look behind for as it looks ahead.
  static std::optional<int64_t> width(const RegexNode& node) {
    switch (node.kind) {
      case Kind::kSet:
        return 1;
      case Kind::kAnchor: {
        const bool is_begin =
            node.anchor == Anchor::kLineBegin || node.anchor == Anchor::kTextBegin;
        return is_begin ? std::optional<int64_t>(0) : std::nullopt;
      }
      case Kind::kRepeat: {
        const auto each = width(node.parts.front());
        return each && node.max == node.min ? std::optional(*each * node.min) : std::nullopt;
      }
      case Kind::kSequence:
      case Kind::kAlternation:
        break;
      case Kind::kGroup:
      case Kind::kAtomic:
      case Kind::kLook:
        return std::nullopt;
    }
    std::optional<int64_t> total;
    for (const RegexNode& part : node.parts) {
      const auto each = width(part);
      const bool differs = node.kind == Kind::kAlternation && total && total != each;
      if (!each || differs) return std::nullopt;
      total = node.kind == Kind::kSequence ? total.value_or(0) + *each : *each;
    }
    return total.value_or(0);
  }

  void check_behind(const RegexNode& node, bool is_top) {
    if (is_top && node.kind == Kind::kAlternation) {
      for (const RegexNode& part : node.parts) check_behind(part, false);
      return;
    }
    const auto characters = width(node);
    cursor_.check(characters && *characters < 256,
                  "a lookbehind for what has no fixed length, or for a group");
  }

  RegexNode named_group() {
    const char32_t end = cursor_.take() == '<' ? '>' : '\'';
    const size_t begin = cursor_.position();
    const CodeSet word = named_code_set("\\w").value();
    while (!cursor_.at_end() && word.contains(cursor_.peek())) cursor_.take();
    const char32_t first = begin < cursor_.position() ? first_of_name(begin) : U'0';
    cursor_.check((first < '0' || first > '9') && cursor_.peek() == end, "a group without a name");
    cursor_.take();
    has_named_group_ = true;
    return wrap(Kind::kGroup, closed(alternation()));
  }

  char32_t first_of_name(size_t begin) {
    const size_t end = cursor_.position();
    cursor_.move_to(begin);
    const char32_t first = cursor_.peek();
    cursor_.move_to(end);
    return first;
  }

  /// (?flags:..), and (?flags), which reaches over all alternatives up to the end of its group.
  RegexNode flag_group() {
    const Flags before = flags_;
    bool on = true;
    while (!cursor_.comes(U":") && !cursor_.comes(U")")) {
      if (cursor_.skip(U"-")) {
        on = false;
      } else if (cursor_.skip(U"i")) {
        flags_.ignores_case = on;
      } else if (cursor_.skip(U"m")) {
        flags_.dot_is_all = on;
      } else if (cursor_.skip(U"x")) {
        flags_.is_extended = on;
      } else {
        cursor_.fail(cursor_.at_end() ? "( without its )"
                                      : "a group of an unknown kind, or an unknown flag");
      }
    }
    const bool is_isolated = cursor_.take() == ')';
    RegexNode inner = alternation();
    flags_ = before;
    return wrap(Kind::kGroup, is_isolated ? std::move(inner) : closed(std::move(inner)));
  }

 public:
  /// Oniguruma takes plain groups away where there are named ones, and joins repeats anew.
  void check_groups() const {
    cursor_.check(!has_named_group_ || !has_plain_group_, "named groups beside plain ones");
  }

 private:
  RegexCursor cursor_;
  Flags flags_;
  int depth_ = 0;
  bool has_plain_group_ = false, has_named_group_ = false;
  std::vector<CodeSet> letters_;  // read one after the other under (?i)
};

}  // namespace

RegexNode parse_regex(std::string_view expression, std::string_view place) {
  Parser parser(expression, place);
  RegexNode node = parser.run();
  parser.check_groups();
  return node;
}

}  // namespace hypenet
