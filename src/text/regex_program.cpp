// Characters that stand in the same sets of an expression are one class; each set is then a class
// of bytes.
#include "text/regex_program.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/unicode_table.h"

namespace hypenet {

namespace {

using Kind = RegexNode::Kind;
using Anchor = RegexNode::Anchor;

constexpr size_t kMostClasses = 256;

const CodeSet& newline() {
  static const CodeSet kSet{{'\n', '\n'}};
  return kSet;
}

const CodeSet& word() {
  static const CodeSet kSet = named_code_set("\\w").value();
  return kSet;
}

class Compiler {
 public:
  Compiler(const RegexNode& tree, std::string_view place) {
    collect(tree);
    divide(place);
    emit(tree);
  }

  RegexProgram take() { return {CharacterClasses(ranges_), std::move(out_)}; }

 private:
  void collect(const RegexNode& node) {
    if (node.kind == Kind::kSet) add_set(node.set);
    if (node.kind == Kind::kAnchor) {
      add_set(newline());
      if (is_word_anchor(node.anchor)) add_set(word());
    }
    for (const RegexNode& part : node.parts) collect(part);
  }

  static bool is_word_anchor(Anchor anchor) {
    return anchor == Anchor::kWordBoundary || anchor == Anchor::kNoWordBoundary;
  }

  void add_set(const CodeSet& set) {
    if (std::find(sets_.begin(), sets_.end(), set) == sets_.end()) sets_.push_back(set);
  }

  /// Cuts the code points where a set begins or ends; stretches of the same sets are one class.
  void divide(std::string_view place) {
    std::map<char32_t, std::vector<size_t>> changes{{0, {}}};
    for (size_t i = 0; i < sets_.size(); ++i) {
      for (const CodeRange& range : sets_[i].ranges()) {
        changes[range.first].push_back(i);
        if (range.last < kLastCode) changes[range.last + 1].push_back(i);
      }
    }
    std::map<std::vector<bool>, size_t> classes;
    std::vector<bool> in(sets_.size());
    for (auto change = changes.begin(); change != changes.end(); ++change) {
      for (const size_t i : change->second) in[i] = !in[i];
      const auto next = std::next(change);
      const char32_t last = next == changes.end() ? kLastCode : next->first - 1;
      const size_t id = classes.try_emplace(in, classes.size()).first->second;
      HYPENET_CHECK(id < kMostClasses, place, ": expected a regular expression that tells at most ",
                    kMostClasses, " classes of characters apart, found more");
      ranges_.push_back({{change->first, last}, static_cast<uint8_t>(id)});
    }
    members_.resize(sets_.size(), std::vector<bool>(classes.size()));
    for (const auto& [sets, id] : classes) {
      for (size_t i = 0; i < sets_.size(); ++i) members_[i][id] = sets[i];
    }
  }

  static std::string byte(size_t value) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    return {'\\', 'x', kDigits[value / 16], kDigits[value % 16]};
  }

  /// The set as a class of bytes; one that is empty has no byte, and no text has what it says.
  std::string bytes_of(const CodeSet& set) const {
    const auto found = std::find(sets_.begin(), sets_.end(), set) - sets_.begin();
    const std::vector<bool>& members = members_[static_cast<size_t>(found)];
    std::string out;
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i]) out += byte(i);
    }
    return out.empty() ? "[^\\x00-\\xff]" : concat("[", out, "]");
  }

  void emit(const RegexNode& node) {
    switch (node.kind) {
      case Kind::kSequence:
        for (const RegexNode& part : node.parts) emit(part);
        break;
      case Kind::kAlternation:
        return emit_group("(?:", node.parts);
      case Kind::kSet:
        out_ += bytes_of(node.set);
        break;
      case Kind::kRepeat:
        return emit_repeat(node);
      case Kind::kGroup:
        return emit_group("(?:", node.parts);
      case Kind::kAtomic:
        return emit_group("(?>", node.parts);
      case Kind::kLook:
        return emit_look(node);
      case Kind::kAnchor:
        out_ += anchor(node.anchor);
        break;
    }
  }

  void emit_group(std::string_view opening, const std::vector<RegexNode>& parts) {
    out_ += opening;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) out_ += '|';
      emit(parts[i]);
    }
    out_ += ')';
  }

  void emit_look(const RegexNode& node) {
    const std::string opening =
        concat("(?", node.is_behind ? "<" : "", node.is_negated ? "!" : "=");
    // A lookbehind's own alternatives may have lengths of their own, those of a group inside not.
    const RegexNode& body = node.parts.front();
    emit_group(opening, body.kind == Kind::kAlternation ? body.parts : node.parts);
  }

  void emit_repeat(const RegexNode& node) {
    const bool is_one = node.parts.front().kind == Kind::kSet;
    if (is_one) {
      emit(node.parts.front());
    } else {
      emit_group("(?:", node.parts);
    }
    if (node.max == node.min) {
      out_ += concat("{", node.min, "}");
      return;
    }
    if (node.min <= 1 && !node.max) {
      out_ += node.min == 0 ? '*' : '+';
    } else if (node.min == 0 && node.max == 1) {
      out_ += '?';
    } else {
      out_ += concat("{", node.min, ",", node.max ? std::to_string(*node.max) : "", "}");
    }
    if (!node.is_greedy) out_ += '?';
  }

  std::string anchor(Anchor anchor) const {
    switch (anchor) {
      case Anchor::kLineBegin:
        return concat("(?:\\A|(?<=", bytes_of(newline()), ")(?!\\z))");
      case Anchor::kLineEnd:
        return concat("(?=", bytes_of(newline()), "|\\z)");
      case Anchor::kTextBegin:
        return "\\A";
      case Anchor::kTextEnd:
        return "\\z";
      case Anchor::kTextEndOrLastLine:
        return concat("(?=", bytes_of(newline()), "?\\z)");
      case Anchor::kSearchBegin:
        return "\\G";
      case Anchor::kWordBoundary:
      case Anchor::kNoWordBoundary:
        break;
    }
    const std::string one = bytes_of(word());
    const bool is_boundary = anchor == Anchor::kWordBoundary;
    return concat("(?:(?<=", one, ")(?", is_boundary ? "!" : "=", one, ")|(?<!", one, ")(?",
                  is_boundary ? "=" : "!", one, "))");
  }

  std::vector<CodeSet> sets_;
  std::vector<std::vector<bool>> members_;  // [set][class]
  std::vector<std::pair<CodeRange, uint8_t>> ranges_;
  std::string out_;
};

}  // namespace

CharacterClasses::CharacterClasses(const std::vector<std::pair<CodeRange, uint8_t>>& classes) {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  std::array<uint8_t, 256> row{};
  for (const auto& [range, id] : classes) {
    for (char32_t code = range.first; code <= range.last; ++code) {
      row[code % 256] = id;
      if (code % 256 != 255) continue;
      const auto [page, is_new] = known.try_emplace(row, static_cast<uint16_t>(rows_.size()));
      if (is_new) rows_.push_back(row);
      pages_.push_back(page->second);
    }
  }
}

bool CharacterClasses::classify(std::string_view text, std::string& bytes) const {
  bytes.resize(text.size());
  const std::array<uint8_t, 256>& ascii = rows_[pages_[0]];
  const auto* in = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = in + text.size();
  char* out = bytes.data();
  while (in < end) {
    const uint32_t lead = *in;
    uint32_t code = lead;
    if (lead < 0x80) {
      *out++ = static_cast<char>(ascii[lead]);
      ++in;
      continue;
    }
    if (lead < 0xE0) {
      code = (lead & 0x1F) << 6 | (in[1] & 0x3Fu);
      in += 2;
    } else if (lead < 0xF0) {
      code = (lead & 0xF) << 12 | (in[1] & 0x3Fu) << 6 | (in[2] & 0x3Fu);
      in += 3;
    } else {
      code = (lead & 7) << 18 | (in[1] & 0x3Fu) << 12 | (in[2] & 0x3Fu) << 6 | (in[3] & 0x3Fu);
      in += 4;
    }
    *out++ = static_cast<char>(rows_[pages_[code >> 8]][code & 0xFF]);
  }
  bytes.resize(static_cast<size_t>(out - bytes.data()));
  return bytes.size() == text.size();
}

RegexProgram compile_regex(const RegexNode& tree, std::string_view place) {
  return Compiler(tree, place).take();
}

}  // namespace hypenet
