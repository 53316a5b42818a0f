// Words from the pinned table, the normalisation of old characters from utf8proc.
#include "text/unicode.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "text/unicode_table.h"

namespace hypenet {

namespace {

constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

constexpr char32_t kFirstLater = 0x378;  // the first code point that Unicode 9 lacks

/// True for characters that no normalisation to NFC changes, whatever stands beside them.
bool is_inert(char32_t code) {
  if (code < 0x300) return true;
  // Vowel and final Hangul letters join the letter before them.
  if (code >= 0x1160 && code <= 0x11FF) return false;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
  const bool is_mark = property->category == UTF8PROC_CATEGORY_MN ||
                       property->category == UTF8PROC_CATEGORY_MC ||
                       property->category == UTF8PROC_CATEGORY_ME;
  const bool has_decomposition = property->decomp_seqindex != UINT16_MAX;
  return !is_mark && !has_decomposition && property->combining_class == 0;
}

std::string nfc_by_utf8proc(std::string_view text) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  HYPENET_CHECK(size >= 0, "nfc: expected a text to normalise, found: ", utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  return std::string(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
}

}  // namespace

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = read_utf8(bytes, at);
    text += step.status == Utf8Status::kWhole ? bytes.substr(at, step.size) : kReplacementUtf8;
    at += step.size;
  }
  return text;
}

size_t complete_utf8_size(std::string_view bytes) {
  // A character has at most four bytes, so a truncated one starts in the last three.
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const size_t at = bytes.size() - back;
    const auto byte = static_cast<unsigned char>(bytes[at]);
    const bool is_continuation = byte >= 0x80 && byte <= 0xBF;
    if (is_continuation) continue;
    const Utf8Step step = read_utf8(bytes, at);
    const bool truncated = step.status == Utf8Status::kTruncated && step.size == back;
    return truncated ? at : bytes.size();
  }
  return bytes.size();
}

bool is_surely_nfc(std::string_view text) {
  for (size_t at = ascii_prefix(text); at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (!is_inert(step.code)) return false;
    at += step.size;
    if (step.size == 1) at += ascii_prefix(text.substr(at));
  }
  return true;
}

std::string nfc(std::string_view text) {
  std::string result;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    // To the `tokenizers` library what came after Unicode 9 is a plain character, neither put in
    // order nor composed, whatever this machine's utf8proc knows of it.
    if (step.code >= kFirstLater && !unicode_9_characters().contains(step.code)) {
      result += nfc_by_utf8proc(text.substr(done, at - done));
      result += text.substr(at, step.size);
      done = at + step.size;
    }
    at += step.size;
  }
  return result + nfc_by_utf8proc(text.substr(done));
}

char32_t lower_case(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}

char32_t title_case(char32_t code) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}

std::string to_utf8(char32_t code) {
  std::string bytes(4, '\0');
  const utf8proc_ssize_t size = utf8proc_encode_char(
      static_cast<utf8proc_int32_t>(code), reinterpret_cast<utf8proc_uint8_t*>(bytes.data()));
  bytes.resize(static_cast<size_t>(size));
  return bytes;
}

std::string lower_case(std::string_view text) {
  std::string lower;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (step.code < 0x80) {
      lower += step.code >= 'A' && step.code <= 'Z' ? static_cast<char>(step.code + 32) : text[at];
    } else {
      lower += to_utf8(lower_case(step.code));
    }
    at += step.size;
  }
  return lower;
}

bool is_white_space(char32_t code) {
  return (code >= 0x9 && code <= 0xD) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_python_space(char32_t code) {
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

bool is_word(char32_t code) {
  static const CodeSet kWords = [] {
    CodeSet set = named_code_set("[:word:]").value();
    set.add(named_code_set("Join_Control").value());
    return set;
  }();
  return kWords.contains(code);
}

}  // namespace hypenet
