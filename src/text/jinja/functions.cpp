// Functions that a template may call by name. The evaluator makes namespaces itself, since it owns
// them.
#include <array>
#include <ctime>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

constexpr int64_t kMostRange = 100'000;  // jinja2's own
constexpr size_t kMostDate = 4096;

Value range(const Call& call) {
  const bool has_start = call.has(1);
  const int64_t start = has_start ? as_integer(call[0], "range") : 0;
  const int64_t stop = as_integer(call[has_start ? 1 : 0], "range");
  const int64_t step = integer_or(call, 2, "range", 1);
  if (step == 0) fail("range: expected a step other than 0");
  std::vector<Value> numbers;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    numbers.emplace_back(at);
    if (std::ssize(numbers) > kMostRange) {
      fail("range: expected at most ", kMostRange, " numbers, found more");
    }
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return list_of(call.work, std::move(numbers));
}

Value dict(const Call& call) {
  Dict result;
  if (call.arguments.values.size() > 1) fail("dict: expected at most one argument without a name");
  for (const Value& value : call.arguments.values) {
    if (const Dict* given = value.dict()) {
      result = *given;
      continue;
    }
    for (const Value& pair : items_of(call.work, value)) {
      const std::vector<Value> parts = items_of(call.work, pair);
      if (parts.size() != 2) fail("dict: expected pairs, found ", parts.size(), " values");
      result.set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : call.arguments.named) result.set(Value::own(name), value);
  call.work.items(result.items.size());
  return Value(std::move(result));
}

Value raise_exception(const Call& call) { fail(to_text(call.work, call[0]).bytes()); }

Value strftime_now(const Call& call) {
  const std::string& format = as_text(call[0], "strftime_now").bytes();
  std::array<char, kMostDate> buffer{};
  // A mark in front tells an empty date from one that does not fit.
  const size_t size =
      std::strftime(buffer.data(), buffer.size(), ("x" + format).c_str(), &call.work.now);
  if (size == 0) fail("strftime_now: expected a date of at most ", kMostDate, " bytes");
  return Value(Text(replace_invalid_utf8({buffer.data() + 1, size - 1})));
}

Value name_space(const Call&) { fail("namespace: expected a call by the template"); }

}  // namespace

std::span<const Builtin> functions() {
  static constexpr std::array kRows = {Builtin{"dict", dict, "*"},
                                       Builtin{"namespace", name_space, "*"},
                                       Builtin{"raise_exception", raise_exception, "message", 1},
                                       Builtin{"range", range, "start stop step", 1},
                                       Builtin{"strftime_now", strftime_now, "format", 1}};
  return kRows;
}

}  // namespace hypenet::jinja
