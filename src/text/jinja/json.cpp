// json.dumps as transformers' filter tojson calls it.
#include <algorithm>
#include <cmath>
#include <optional>

#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

std::string unit_escape(char32_t unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[(unit >> shift) & 15];
  return text;
}

class Writer {
 public:
  Writer(Work& work, const JsonStyle& style) : work_(work), style_(style) {}

  Text take() { return std::move(out_); }

  void write(const Value& value, int depth) {
    work_.step();
    if (const Text* text = value.text()) return write_text(*text);
    if (value.is_none()) return add("null");
    if (value.is_bool()) return add(value.is_true() ? "true" : "false");
    if (value.is_integer()) return add(std::to_string(value.integer()));
    if (value.is_float()) return write_float(value.number());
    if (const List* list = value.list()) return write_list(*list, depth);
    if (const Dict* dict = value.dict()) return write_dict(*dict, depth);
    if (value.is_undefined()) fail("tojson: ", value.reason());
    fail("tojson: expected a value of JSON, found a ", value.type());
  }

 private:
  void add(const Text& text) {
    out_.append(text);
    count(text.size());
  }
  void add(std::string_view text, Origin origin = Origin::kTemplate) {
    out_.append(text, origin);
    count(text.size());
  }
  void count(size_t size) {
    constexpr size_t kCounted = 1 << 16;
    written_ += size;
    if (written_ < kCounted) return;
    work_.text(written_);
    work_.size(out_.size());
    written_ = 0;
  }

  void write_float(double number) {
    if (std::isnan(number)) return add("NaN");
    if (std::isinf(number)) return add(number < 0 ? "-Infinity" : "Infinity");
    add(float_text(number));
  }

  void break_line(int depth) {
    if (!style_.indent) return;
    add("\n");
    for (int i = 0; i < depth; ++i) add(*style_.indent);
  }

  void write_list(const List& list, int depth) {
    if (list.items.empty()) return add("[]");
    add("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) add(style_.item_separator);
      break_line(depth + 1);
      write(list.items[i], depth + 1);
    }
    break_line(depth);
    add("]");
  }

  /// A key that is no text is told as JSON tells the value.
  Value key_text(const Value& key) {
    if (key.is_text()) return key;
    if (key.list() != nullptr) fail("tojson: expected keys that are texts, found a tuple");
    Writer writer(work_, style_);
    writer.write(key, 0);
    return Value(writer.take());
  }

  void write_dict(const Dict& dict, int depth) {
    if (dict.items.empty()) return add("{}");
    std::vector<const std::pair<Value, Value>*> rows;
    for (const auto& row : dict.items) rows.push_back(&row);
    if (style_.sorts_keys) {
      std::ranges::stable_sort(rows, [&](const auto* left, const auto* right) {
        return is_less(work_, left->first, right->first);
      });
    }
    add("{");
    for (size_t i = 0; i < rows.size(); ++i) {
      if (i > 0) add(style_.item_separator);
      break_line(depth + 1);
      write_text(*key_text(rows[i]->first).text());
      add(style_.key_separator);
      write(rows[i]->second, depth + 1);
    }
    break_line(depth);
    add("}");
  }

  void write_text(const Text& text) {
    const std::string_view bytes = text.bytes();
    add("\"");
    for (size_t at = 0; at < bytes.size();) {
      const Utf8Step step = read_utf8(bytes, at);
      write_character(step.code, bytes.substr(at, step.size), text.origin_at(at));
      at += step.size;
    }
    add("\"");
  }

  void write_character(char32_t code, std::string_view raw, Origin origin) {
    constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
    const size_t which = code < 0x80 ? kSpecial.find(static_cast<char>(code)) : kSpecial.npos;
    if (which != kSpecial.npos) {
      const char escape[] = {'\\', kLetters[which]};
      add({escape, 2}, origin);
    } else if (code < 0x20 || (style_.is_ascii && code > 0x7F && code < 0x10000)) {
      add(unit_escape(code), origin);
    } else if (style_.is_ascii && code >= 0x10000) {
      const char32_t rest = code - 0x10000;
      add(unit_escape(0xD800 + (rest >> 10)) + unit_escape(0xDC00 + (rest & 0x3FF)), origin);
    } else {
      add(raw, origin);
    }
  }

  Work& work_;
  const JsonStyle& style_;
  Text out_;
  size_t written_ = 0;
};

}  // namespace

Text to_json_text(Work& work, const Value& value, const JsonStyle& style) {
  Writer writer(work, style);
  writer.write(value, 0);
  Text text = writer.take();
  work.text(text.size());
  return text;
}

}  // namespace hypenet::jinja
