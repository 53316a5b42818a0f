// Filters of single values: texts, numbers, JSON.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"

namespace hypenet::jinja {
namespace {

Value in_case(const Call& call, Case kind) {
  const Text text = to_text(call.work, call.self);
  call.work.text(text.size());
  return Value(with_case(text, kind));
}

Value upper(const Call& call) { return in_case(call, Case::kUpper); }
Value lower(const Call& call) { return in_case(call, Case::kLower); }
Value title(const Call& call) { return in_case(call, Case::kJinjaTitle); }
Value capitalize(const Call& call) { return in_case(call, Case::kCapital); }

Value string(const Call& call) { return Value(to_text(call.work, call.self)); }

Value safe(const Call& call) { return string(call); }

Value trim(const Call& call) {
  const Text text = to_text(call.work, call.self);
  call.work.text(text.size());
  return Value(strip(text, text_or_null(call, 0, "trim: chars"), true, true));
}

Value replace_filter(const Call& call) {
  const Text old = to_text(call.work, call[0]), with = to_text(call.work, call[1]);
  const bool is_limited = call.has(2) && !call[2].is_none();
  const int64_t most = is_limited ? as_integer(call[2], "replace: count") : -1;
  return Value(replace(call.work, to_text(call.work, call.self), old, with, most));
}

/// The digits of Python's int(text), which may have single underscores within.
std::optional<int64_t> read_integer(std::string_view text, int base) {
  text = strip_left(strip_right(text));
  std::string digits(text);
  const bool is_signed = text.starts_with('+') || text.starts_with('-');
  const bool is_negative = text.starts_with('-');
  if (is_signed) digits.erase(0, 1);
  const std::string_view prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "";
  if (!prefix.empty() && digits.starts_with(prefix)) digits.erase(0, 2);
  const bool is_spaced =
      digits.find("__") == std::string::npos && !digits.starts_with('_') && !digits.ends_with('_');
  if (is_spaced) std::erase(digits, '_');
  if (is_negative) digits.insert(0, "-");
  int64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, value, base);
  if (read.ec == std::errc::result_out_of_range) fail("int: expected a number of 64 bits");
  const bool is_plain = !digits.starts_with("--");
  if (read.ec != std::errc() || read.ptr != end || !is_plain) return std::nullopt;
  return value;
}

std::optional<double> read_float(std::string_view text) {
  text = strip_left(strip_right(text));
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> whole_part(double number) {
  if (std::isnan(number) || std::abs(number) >= 9.2e18) return std::nullopt;
  return static_cast<int64_t>(number);
}

Value to_integer(const Call& call) {
  const Value& value = call.self;
  const Value otherwise = call.has(0) ? call[0] : Value(int64_t{0});
  const int64_t base = integer_or(call, 1, "int: base", 10);
  if (base < 2 || base > 36) fail("int: expected a base of 2 to 36, found ", base);
  if (value.is_undefined()) fail(value.reason());
  if (value.is_integer()) return Value(value.integer());
  std::optional<int64_t> whole;
  if (value.is_float()) {
    whole = whole_part(value.number());
  } else if (const Text* text = value.text()) {
    call.work.text(text->size());
    whole = read_integer(text->bytes(), static_cast<int>(base));
    const auto number = whole ? std::nullopt : read_float(text->bytes());
    if (number) whole = whole_part(*number);
  }
  return whole ? Value(*whole) : otherwise;
}

Value to_float(const Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) fail(value.reason());
  if (value.is_number()) return Value(value.number());
  const auto number = value.is_text() ? read_float(value.text()->bytes()) : std::nullopt;
  if (number) return Value(*number);
  return call.has(0) ? call[0] : Value(0.0);
}

Value absolute(const Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) fail(value.reason());
  if (!value.is_number()) fail("abs: expected a number, found a ", value.type());
  if (value.is_float()) return Value(std::abs(value.number()));
  const Value zero(int64_t{0});
  return value.integer() < 0 ? binary(call.work, "-", zero, value) : Value(value.integer());
}

Value default_value(const Call& call) {
  const bool is_missing =
      call.self.is_undefined() || (flag_or(call, 1, false) && !call.self.is_true());
  if (!is_missing) return call.self;
  return call.has(0) ? call[0] : Value::own("");
}

Value indent(const Call& call) {
  Text width(std::string(4, ' '));
  if (call.has(0) && call[0].is_text()) {
    width = *call[0].text();
  } else if (call.has(0)) {
    const int64_t count = std::max<int64_t>(as_integer(call[0], "indent: width"), 0);
    call.work.text(static_cast<size_t>(count));
    width = Text(std::string(static_cast<size_t>(count), ' '));
  }
  const bool with_first = flag_or(call, 1, false), with_blank = flag_or(call, 2, false);
  Text all = to_text(call.work, call.self);
  all.append("\n", Origin::kTemplate);
  Text result;
  const std::vector<Text> lines = split_lines(all, false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) result.append("\n", Origin::kTemplate);
    const bool is_first = i == 0, is_blank = lines[i].size() == 0;
    if (is_first ? with_first : with_blank || !is_blank) result.append(width);
    result.append(lines[i]);
    call.work.size(result.size());
  }
  call.work.text(result.size());
  return Value(std::move(result));
}

Value to_json(const Call& call) {
  JsonStyle style;
  style.is_ascii = flag_or(call, 0, false);
  if (call.has(1) && call[1].is_text()) {
    style.indent = *call[1].text();
  } else if (call.has(1) && !call[1].is_none()) {
    const int64_t width = std::max<int64_t>(as_integer(call[1], "tojson: indent"), 0);
    call.work.text(static_cast<size_t>(width));
    style.indent = Text(std::string(static_cast<size_t>(width), ' '));
  }
  if (style.indent) style.item_separator = Text(",");
  if (call.has(2) && !call[2].is_none()) {
    const List* const pair = call[2].list();
    if (pair == nullptr || pair->items.size() != 2) fail("tojson: expected two separators");
    style.item_separator = as_text(pair->items[0], "tojson: separators");
    style.key_separator = as_text(pair->items[1], "tojson: separators");
  }
  style.sorts_keys = flag_or(call, 3, false);
  return Value(to_json_text(call.work, call.self, style));
}

}  // namespace

std::span<const Builtin> text_filters() {
  static constexpr std::array kRows = {
      Builtin{"abs", absolute},
      Builtin{"capitalize", capitalize},
      Builtin{"d", default_value, "default_value boolean"},
      Builtin{"default", default_value, "default_value boolean"},
      Builtin{"float", to_float, "default"},
      Builtin{"indent", indent, "width first blank"},
      Builtin{"int", to_integer, "default base"},
      Builtin{"lower", lower},
      Builtin{"replace", replace_filter, "old new count", 2},
      Builtin{"safe", safe},
      Builtin{"string", string},
      Builtin{"title", title},
      Builtin{"tojson", to_json, "ensure_ascii indent separators sort_keys"},
      Builtin{"trim", trim, "chars"},
      Builtin{"upper", upper}};
  return kRows;
}

}  // namespace hypenet::jinja
