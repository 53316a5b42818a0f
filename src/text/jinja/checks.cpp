// Tests: what stands behind `is`.
#include <array>
#include <cmath>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"

namespace hypenet::jinja {
namespace {

template <bool (Value::*kAsk)() const>
Value ask(const Call& call) {
  return Value((call.self.*kAsk)());
}

Value is_defined(const Call& call) { return Value(!call.self.is_undefined()); }
Value is_mapping(const Call& call) { return Value(call.self.dict() != nullptr); }
Value is_whole(const Call& call) { return Value(call.self.is_integer() && !call.self.is_bool()); }
Value is_true(const Call& call) { return Value(call.self.is_bool() && call.self.is_true()); }
Value is_false(const Call& call) { return Value(call.self.is_bool() && !call.self.is_true()); }
Value is_callable(const Call& call) { return Value(call.self.callable() != nullptr); }

Value is_sequence(const Call& call) {
  const Value& value = call.self;
  return Value(value.is_undefined() || value.is_text() || value.list() != nullptr ||
               value.dict() != nullptr);
}

Value is_iterable(const Call& call) {
  return Value(is_sequence(call).is_true() || call.self.loop() != nullptr);
}

template <char kFirst, char kSecond = '\0'>
Value is_compared(const Call& call) {
  const char spelt[] = {kFirst, kSecond};
  return Value(compare(call.work, {spelt, kSecond == '\0' ? 1U : 2U}, call.self, call[0]));
}

Value is_in(const Call& call) { return Value(contains(call.work, call[0], call.self)); }

bool has_rest(const Call& call, const Value& divisor) {
  const Value rest = binary(call.work, "%", call.self, divisor);
  return rest.is_true();
}

Value is_even(const Call& call) { return Value(!has_rest(call, Value(int64_t{2}))); }
Value is_odd(const Call& call) {
  return Value(
      is_equal(call.work, binary(call.work, "%", call.self, Value(int64_t{2})), Value(int64_t{1})));
}
Value is_divisible(const Call& call) { return Value(!has_rest(call, call[0])); }

/// Python's islower and isupper: letters with a case, all of this one.
Value is_case(const Call& call, Case kind, Case other) {
  const Text text = to_text(call.work, call.self);
  call.work.text(text.size());
  const bool is_so = with_case(text, kind).bytes() == text.bytes();
  return Value(is_so && with_case(text, other).bytes() != text.bytes());
}
Value is_lower(const Call& call) { return is_case(call, Case::kLower, Case::kUpper); }
Value is_upper(const Call& call) { return is_case(call, Case::kUpper, Case::kLower); }

}  // namespace

std::span<const Builtin> tests() {
  static constexpr std::array kRows = {Builtin{"!=", is_compared<'!', '='>, "other", 1},
                                       Builtin{"<", is_compared<'<'>, "other", 1},
                                       Builtin{"<=", is_compared<'<', '='>, "other", 1},
                                       Builtin{"==", is_compared<'=', '='>, "other", 1},
                                       Builtin{">", is_compared<'>'>, "other", 1},
                                       Builtin{">=", is_compared<'>', '='>, "other", 1},
                                       Builtin{"boolean", ask<&Value::is_bool>},
                                       Builtin{"callable", is_callable},
                                       Builtin{"defined", is_defined},
                                       Builtin{"divisibleby", is_divisible, "num", 1},
                                       Builtin{"eq", is_compared<'=', '='>, "other", 1},
                                       Builtin{"equalto", is_compared<'=', '='>, "other", 1},
                                       Builtin{"even", is_even},
                                       Builtin{"false", is_false},
                                       Builtin{"float", ask<&Value::is_float>},
                                       Builtin{"ge", is_compared<'>', '='>, "other", 1},
                                       Builtin{"greaterthan", is_compared<'>'>, "other", 1},
                                       Builtin{"gt", is_compared<'>'>, "other", 1},
                                       Builtin{"in", is_in, "seq", 1},
                                       Builtin{"integer", is_whole},
                                       Builtin{"iterable", is_iterable},
                                       Builtin{"le", is_compared<'<', '='>, "other", 1},
                                       Builtin{"lessthan", is_compared<'<'>, "other", 1},
                                       Builtin{"lower", is_lower},
                                       Builtin{"lt", is_compared<'<'>, "other", 1},
                                       Builtin{"mapping", is_mapping},
                                       Builtin{"ne", is_compared<'!', '='>, "other", 1},
                                       Builtin{"none", ask<&Value::is_none>},
                                       Builtin{"number", ask<&Value::is_number>},
                                       Builtin{"odd", is_odd},
                                       Builtin{"sequence", is_sequence},
                                       Builtin{"string", ask<&Value::is_text>},
                                       Builtin{"true", is_true},
                                       Builtin{"undefined", ask<&Value::is_undefined>},
                                       Builtin{"upper", is_upper}};
  return kRows;
}

}  // namespace hypenet::jinja
