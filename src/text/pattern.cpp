// Matching with PCRE2's just-in-time compiler, in characters' classes and back to bytes.
#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/regex_program.h"
#include "text/unicode.h"

namespace hypenet {

namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// How often a match may turn back from one place: Oniguruma's own limit, and more where the text
/// alone is longer. Without one `(a|a)*b` tries 2^n ways through n letters.
uint32_t match_limit(size_t characters) {
  constexpr size_t kRetries = 10'000'000, kRetriesPerCharacter = 16;
  const size_t limit = kRetries + kRetriesPerCharacter * characters;
  return static_cast<uint32_t>(std::min<size_t>(limit, std::numeric_limits<uint32_t>::max()));
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct Pattern::Code {
  explicit Code(std::string_view text) : literal(text) {}
  Code(std::string_view source, std::string_view place)
      : program(compile_regex(parse_regex(source, place), place)) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    const std::string& expression = program.expression;
    compiled = pcre2_compile(units(expression), expression.size(), 0, &error, &offset, nullptr);
    HYPENET_CHECK(compiled, place, ": expected a regular expression, found ", source, " (",
                  pcre2_message(error), ")");
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  }
  ~Code() { pcre2_code_free(compiled); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  std::string literal;  // what is looked for where nothing is compiled
  RegexProgram program;
  pcre2_code* compiled = nullptr;
};

Pattern::Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

Pattern Pattern::regex(std::string_view expression, std::string_view place) {
  return Pattern(std::make_shared<const Code>(expression, place));
}

Pattern Pattern::literal(std::string_view text) {
  return Pattern(std::make_shared<const Code>(text));
}

struct Pattern::Search::Data {
  explicit Data(const pcre2_code* code)
      : match(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {}
  ~Data() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  pcre2_match_data* match;
  pcre2_match_context* context;
};

Pattern::Search::Search(const Pattern& pattern) : pattern_(pattern) {
  if (pattern.code_->compiled) data_ = std::make_unique<Data>(pattern.code_->compiled);
}

Pattern::Search::~Search() = default;

void Pattern::Search::start(std::string_view text) {
  text_ = text;
  from_ = character_ = offset_ = 0;
  last_end_.reset();
  if (!data_) return;
  is_ascii_ = pattern_.code_->program.classes.classify(text, classes_);
  pcre2_set_match_limit(data_->context, match_limit(classes_.size()));
}

int Pattern::Search::match_at(size_t from) {
  const auto run = [&](uint32_t options) {
    return pcre2_match(pattern_.code_->compiled, units(classes_), classes_.size(), from, options,
                       data_->match, data_->context);
  };
  const int result = run(0);
  // The interpreter keeps its backtracking points on the heap, which has room where the stack has
  // none.
  return result == PCRE2_ERROR_JIT_STACKLIMIT ? run(PCRE2_NO_JIT) : result;
}

/// Characters are asked for in ascending order.
size_t Pattern::Search::offset_of(size_t character) {
  if (is_ascii_) return character;
  for (; character_ < character; ++character_) {
    const auto lead = static_cast<unsigned char>(text_[offset_]);
    offset_ += lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  }
  return offset_;
}

std::optional<Pattern::Match> Pattern::Search::next_literal() {
  const std::string& literal = pattern_.code_->literal;
  const size_t found = text_.find(literal, from_);
  if (found == std::string_view::npos) return std::nullopt;
  from_ = found + literal.size();
  return Match{found, from_};
}

std::optional<Pattern::Match> Pattern::Search::next() {
  if (!data_) return next_literal();
  while (from_ <= classes_.size()) {
    const int result = match_at(from_);
    if (result == PCRE2_ERROR_NOMATCH) break;
    HYPENET_CHECK(result >= 0, "tokenizer pattern: expected a match or none, found an error: ",
                  pcre2_message(result));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data_->match);
    const size_t begin = ends[0], end = ends[1];
    if (begin != end || last_end_ != end) {
      from_ = end;
      last_end_ = end;
      const size_t first = offset_of(begin);
      return Match{first, offset_of(end)};
    }
    ++from_;
  }
  from_ = classes_.size() + 1;
  return std::nullopt;
}

}  // namespace hypenet
