// Values as texts, the way Python tells them: str and repr.
#include <utf8proc.h>

#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja/strings.h"
#include "text/jinja/work.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

bool is_printable(char32_t code) {
  if (code == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string escape_of(char32_t code) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  std::string text = digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int i = digits - 1; i >= 0; --i) text += kDigits[(code >> (4 * i)) & 15];
  return text;
}

/// Writes repr(value) and counts what it costs.
class Writer {
 public:
  explicit Writer(Work& work) : work_(work) {}

  Text take() { return std::move(out_); }

  void write(const Value& value, int depth) {
    work_.step();
    if (depth > kMostHeight) fail("expected a value nested less deeply to print");
    if (const Text* text = value.text()) return write_text(*text);
    if (const List* list = value.list()) return write_list(*list, depth);
    if (const Dict* dict = value.dict()) return write_dict(*dict, depth);
    if (const Namespace* space = value.name_space()) {
      add("<Namespace ");
      write_dict(space->attributes, depth);
      return add(">");
    }
    if (value.is_undefined()) return add("Undefined");
    if (value.callable() != nullptr || value.loop() != nullptr) {
      fail("expected a value to print, found a ", value.type());
    }
    add(to_text(work_, value).bytes());
  }

 private:
  void add(std::string_view text, Origin origin = Origin::kTemplate) {
    out_.append(text, origin);
    written_ += text.size();
    if (written_ < kCounted) return;
    work_.text(written_);
    work_.text(out_.size());
    written_ = 0;
  }

  void write_list(const List& list, int depth) {
    add(list.is_tuple ? "(" : "[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) add(", ");
      write(list.items[i], depth + 1);
    }
    if (list.is_tuple && list.items.size() == 1) add(",");
    add(list.is_tuple ? ")" : "]");
  }

  void write_dict(const Dict& dict, int depth) {
    add("{");
    for (size_t i = 0; i < dict.items.size(); ++i) {
      if (i > 0) add(", ");
      write(dict.items[i].first, depth + 1);
      add(": ");
      write(dict.items[i].second, depth + 1);
    }
    add("}");
  }

  void write_text(const Text& text) {
    const std::string_view bytes = text.bytes();
    const bool is_double = bytes.find('\'') != bytes.npos && bytes.find('"') == bytes.npos;
    const std::string_view quote = is_double ? "\"" : "'";
    add(quote);
    for (size_t at = 0; at < bytes.size();) {
      const Utf8Step step = read_utf8(bytes, at);
      const std::string_view raw = bytes.substr(at, step.size);
      const Origin origin = text.origin_at(at);
      if (raw == "\\" || raw == quote) {
        add("\\", origin);
        add(raw, origin);
      } else if (raw == "\n" || raw == "\r" || raw == "\t") {
        add(raw == "\n" ? "\\n" : raw == "\r" ? "\\r" : "\\t", origin);
      } else {
        add(is_printable(step.code) ? raw : escape_of(step.code), origin);
      }
      at += step.size;
    }
    add(quote);
  }

  static constexpr size_t kCounted = 1 << 16;

  Work& work_;
  Text out_;
  size_t written_ = 0;
};

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer{};
  const auto plain =
      std::to_chars(buffer.begin(), buffer.end(), value, std::chars_format::scientific);
  const std::string text(buffer.begin(), plain.ptr);  // d.ddde[+-]xx
  const size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  if (exponent < -4 || exponent >= 16) return text;
  std::array<char, 64> fixed{};
  const auto end = std::to_chars(fixed.begin(), fixed.end(), value, std::chars_format::fixed);
  std::string result(fixed.begin(), end.ptr);
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

Text to_text(Work& work, const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return {};
  if (value.is_none()) return Text("None");
  if (value.is_bool()) return Text(value.is_true() ? "True" : "False");
  if (value.is_integer()) return Text(std::to_string(value.integer()));
  if (value.is_float()) return Text(float_text(value.number()));
  Writer writer(work);
  writer.write(value, 0);
  Text text = writer.take();
  work.text(text.size());
  return text;
}

}  // namespace hypenet::jinja
