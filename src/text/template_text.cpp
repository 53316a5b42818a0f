// Text and tags, then the words of each tag.
#include "text/template_text.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "base/json.h"

namespace hypenet {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";

struct Word {
  enum class Kind { kName, kLiteral, kSign } kind = Kind::kSign;
  std::string text;
};

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

char resolve_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      throw Error(
          concat("chat template: expected the escapes n, t, r, a quote or a backslash, found \\",
                 std::string(1, c)));
  }
}

/// Where the literal that begins at `at` ends, one past its quote; npos when it does not.
size_t literal_end(std::string_view text, size_t at) {
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::string resolve_literal(std::string_view quoted) {
  std::string text;
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    text += quoted[i] == '\\' ? resolve_escape(quoted[++i]) : quoted[i];
  }
  return text;
}

std::vector<Word> read_words(std::string_view code) {
  std::vector<Word> words;
  for (size_t at = 0; at < code.size();) {
    const size_t begin = at;
    if (kSpaces.find(code[at]) != std::string_view::npos) {
      ++at;
    } else if (code[at] == '"' || code[at] == '\'') {
      at = literal_end(code, at);
      words.push_back({Word::Kind::kLiteral, resolve_literal(code.substr(begin, at - begin))});
    } else if (is_name_character(code[at])) {
      while (at < code.size() && is_name_character(code[at])) ++at;
      words.push_back({Word::Kind::kName, std::string(code.substr(begin, at - begin))});
    } else {
      words.push_back({Word::Kind::kSign, std::string(1, code[at++])});
    }
  }
  return words;
}

bool is_sign(const Word& word, char sign) {
  return word.kind == Word::Kind::kSign && word.text[0] == sign;
}

bool is_name(std::string_view text) {
  for (const char c : text) {
    if (!is_name_character(c)) return false;
  }
  return !text.empty();
}

/// x['y'] becomes x.y.
std::vector<Word> with_plain_attributes(const std::vector<Word>& words) {
  std::vector<Word> plain;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool is_attribute =
        i > 0 && i + 2 < words.size() && is_sign(words[i], '[') &&
        (words[i - 1].kind == Word::Kind::kName || is_sign(words[i - 1], ']')) &&
        words[i + 1].kind == Word::Kind::kLiteral && is_name(words[i + 1].text) &&
        is_sign(words[i + 2], ']');
    if (!is_attribute) {
      plain.push_back(words[i]);
      continue;
    }
    plain.push_back({Word::Kind::kSign, "."});
    plain.push_back({Word::Kind::kName, words[i + 1].text});
    i += 2;
  }
  return plain;
}

std::string spell(const std::vector<Word>& words) {
  std::string text;
  bool was_word = false;
  for (const Word& word : words) {
    const bool is_word = word.kind != Word::Kind::kSign;
    if (was_word && is_word) text += ' ';
    text += word.kind == Word::Kind::kLiteral
                ? Json(word.text).dump(-1, ' ', false, Json::error_handler_t::replace)
                : word.text;
    was_word = is_word;
  }
  return text;
}

void add_part(std::vector<TemplatePart>& parts, TemplatePart part) {
  if (part.text.empty()) return;
  if (part.is_literal && !parts.empty() && parts.back().is_literal) {
    parts.back().text += part.text;
  } else {
    parts.push_back(std::move(part));
  }
}

/// An expression, cut at the + and ~ outside of brackets.
std::vector<TemplatePart> read_parts(const std::vector<Word>& words) {
  std::vector<TemplatePart> parts;
  std::vector<Word> part;
  const auto end_part = [&] {
    const bool is_literal = part.size() == 1 && part[0].kind == Word::Kind::kLiteral;
    add_part(parts, {is_literal, is_literal ? part[0].text : spell(part)});
    part.clear();
  };
  int depth = 0;
  for (const Word& word : words) {
    if (is_sign(word, '(') || is_sign(word, '[')) ++depth;
    if (is_sign(word, ')') || is_sign(word, ']')) --depth;
    if (depth == 0 && (is_sign(word, '+') || is_sign(word, '~'))) {
      end_part();
    } else {
      part.push_back(word);
    }
  }
  end_part();
  return parts;
}

TemplateStatement read_control(const std::vector<Word>& words) {
  if (words.empty() || words[0].text != "set") return {.head = spell(words), .parts = {}};
  size_t equals = 1;
  while (equals < words.size() && !is_sign(words[equals], '=')) ++equals;
  const auto middle = words.begin() + static_cast<std::ptrdiff_t>(equals);
  TemplateStatement statement{
      TemplateStatement::Kind::kSet, spell({words.begin() + 1, middle}), {}};
  if (middle != words.end()) statement.parts = read_parts({middle + 1, words.end()});
  return statement;
}

/// Splits the template into text and tags.
class Reader {
 public:
  Reader(std::string_view text, const std::string& place) : text_(text), place_(place) {}

  std::vector<TemplateStatement> read() {
    while (at_ < text_.size()) {
      const size_t tag = find_tag();
      add_text(text_.substr(at_, tag - at_), tag);
      at_ = tag;
      if (tag < text_.size()) read_tag();
    }
    return std::move(statements_);
  }

 private:
  size_t find_tag() const {
    for (size_t i = at_; i + 1 < text_.size(); ++i) {
      const char kind = text_[i + 1];
      if (text_[i] == '{' && (kind == '{' || kind == '%' || kind == '#')) return i;
    }
    return text_.size();
  }

  void add_text(std::string_view text, size_t tag) {
    if (strips_) text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
    if (tag < text_.size() && sign == '-') {
      text = text.substr(0, text.find_last_not_of(kSpaces) + 1);
    } else if (tag < text_.size() && text_[tag + 1] != '{' && sign != '+') {
      const size_t line = text.rfind('\n') + 1;
      const bool is_indent = text.find_first_not_of(" \t\r\f\v", line) == std::string_view::npos;
      if (is_indent && (line > 0 || starts_line_)) text = text.substr(0, line);
    }
    if (!text.empty()) add_print({{true, std::string(text)}});
  }

  void add_print(const std::vector<TemplatePart>& parts) {
    if (statements_.empty() || statements_.back().kind != TemplateStatement::Kind::kPrint) {
      statements_.push_back({TemplateStatement::Kind::kPrint, "", {}});
    }
    for (const TemplatePart& part : parts) add_part(statements_.back().parts, part);
  }

  void read_tag() {
    const char kind = text_[at_ + 1];
    const size_t end = tag_end(kind);
    std::string_view code = text_.substr(at_ + 2, end - at_ - 2);
    if (code.starts_with('-') || code.starts_with('+')) code.remove_prefix(1);
    strips_ = code.ends_with('-');
    if (strips_ || code.ends_with('+')) code.remove_suffix(1);
    at_ = end + 2;
    starts_line_ = false;
    if (kind != '{' && at_ < text_.size() && text_[at_] == '\n' && !strips_) {
      ++at_;
      starts_line_ = true;
    }
    if (kind == '#') return;
    const std::vector<Word> words = with_plain_attributes(read_words(code));
    if (kind == '{') {
      add_print(read_parts(words));
    } else {
      statements_.push_back(read_control(words));
    }
  }

  size_t tag_end(char kind) const {
    const std::array<char, 2> end = {kind == '{' ? '}' : kind, '}'};
    const size_t last = text_.size() - 1;
    size_t i = at_ + 2;
    while (i < last && (text_[i] != end[0] || text_[i + 1] != end[1])) {
      const bool is_quote = kind != '#' && (text_[i] == '"' || text_[i] == '\'');
      i = is_quote ? literal_end(text_, i) : i + 1;
    }
    HYPENET_CHECK(i < last, place_, ": expected an end of the tag at byte ", at_, ", found none");
    return i;
  }

  std::string_view text_;
  const std::string& place_;
  size_t at_ = 0;
  bool strips_ = false;      // the last tag takes the white space behind it
  bool starts_line_ = true;  // the last tag ended its line
  std::vector<TemplateStatement> statements_;
};

}  // namespace

std::string TemplateStatement::expression() const {
  std::string text;
  for (const TemplatePart& part : parts) {
    if (!text.empty()) text += '+';
    text += part.is_literal ? spell({{Word::Kind::kLiteral, part.text}}) : part.text;
  }
  return text;
}

std::vector<TemplateStatement> read_template(std::string_view text, const std::string& place) {
  return Reader(text, place).read();
}

}  // namespace hypenet
