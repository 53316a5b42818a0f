// Arithmetic, comparison and membership, as Python has them; integers have 64 bits.
#include <cmath>

#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace hypenet::jinja {
namespace {

[[noreturn]] void fail_operands(std::string_view spelt, const Value& left, const Value& right) {
  if (left.is_undefined()) fail(left.reason());
  if (right.is_undefined()) fail(right.reason());
  fail("expected values that ", spelt, " can join, found a ", left.type(), " and a ", right.type());
}

[[noreturn]] void fail_range() { fail("expected an integer of 64 bits, found a larger one"); }

int64_t floor_division(int64_t left, int64_t right) {
  if (right == -1) {
    int64_t result = 0;
    if (__builtin_sub_overflow(int64_t{0}, left, &result)) fail_range();
    return result;
  }
  const int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

double floored_remainder(double left, double right) {
  const double rest = std::fmod(left, right);
  return rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest;
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0)
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) fail_range();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_range();
  }
  return Value(result);
}

Value integers(std::string_view spelt, int64_t left, int64_t right) {
  int64_t result = 0;
  if (spelt == "+" && !__builtin_add_overflow(left, right, &result)) return Value(result);
  if (spelt == "-" && !__builtin_sub_overflow(left, right, &result)) return Value(result);
  if (spelt == "*" && !__builtin_mul_overflow(left, right, &result)) return Value(result);
  if (spelt == "**") return integer_power(left, right);
  if (spelt == "+" || spelt == "-" || spelt == "*") fail_range();
  if (right == 0) fail("expected a divisor other than 0");
  if (spelt == "/") return Value(static_cast<double>(left) / static_cast<double>(right));
  if (spelt == "//") return Value(floor_division(left, right));
  return Value(right == -1 ? int64_t{0} : left - right * floor_division(left, right));
}

Value floats(std::string_view spelt, double left, double right) {
  if (spelt == "+") return Value(left + right);
  if (spelt == "-") return Value(left - right);
  if (spelt == "*") return Value(left * right);
  if (spelt == "**") return Value(std::pow(left, right));
  if (right == 0) fail("expected a divisor other than 0");
  if (spelt == "/") return Value(left / right);
  if (spelt == "//") return Value(std::floor(left / right));
  return Value(floored_remainder(left, right));
}

Value repeat(Work& work, const Value& value, int64_t times) {
  const size_t count = times < 0 ? 0 : static_cast<size_t>(times);
  if (const Text* text = value.text()) {
    size_t size = 0;
    if (__builtin_mul_overflow(text->size(), count, &size)) fail_range();
    work.text(size);
    Text result;
    for (size_t i = 0; i < count && size > 0; ++i) result.append(*text);
    return Value(std::move(result));
  }
  const List& list = *value.list();
  size_t size = 0;
  if (__builtin_mul_overflow(list.items.size(), count, &size)) fail_range();
  work.items(size);
  List result;
  result.is_tuple = list.is_tuple;
  for (size_t i = 0; i < count && size > 0; ++i) {
    result.items.insert(result.items.end(), list.items.begin(), list.items.end());
  }
  return Value(std::move(result));
}

bool is_sequence(const Value& value) { return value.is_text() || value.list() != nullptr; }

}  // namespace

Value add(Work& work, const Value& left, const Value& right) {
  if (left.is_text() && right.is_text()) {
    work.text(left.text()->size() + right.text()->size());
    Text text = *left.text();
    text.append(*right.text());
    return Value(std::move(text));
  }
  const List* first = left.list();
  const List* second = right.list();
  if (first == nullptr || second == nullptr || first->is_tuple != second->is_tuple) {
    fail_operands("+", left, right);
  }
  work.items(first->items.size() + second->items.size());
  List list = *first;
  list.items.insert(list.items.end(), second->items.begin(), second->items.end());
  return Value(std::move(list));
}

Value binary(Work& work, std::string_view spelt, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integer() && right.is_integer()) {
      return integers(spelt, left.integer(), right.integer());
    }
    return floats(spelt, left.number(), right.number());
  }
  if (spelt == "+") return add(work, left, right);
  if (spelt == "*" && is_sequence(left) && right.is_integer()) {
    return repeat(work, left, right.integer());
  }
  if (spelt == "*" && left.is_integer() && is_sequence(right)) {
    return repeat(work, right, left.integer());
  }
  fail_operands(spelt, left, right);
}

bool compare(Work& work, std::string_view spelt, const Value& left, const Value& right) {
  if (spelt == "==") return is_equal(work, left, right);
  if (spelt == "!=") return !is_equal(work, left, right);
  if (spelt == "in") return contains(work, right, left);
  if (spelt == "not in") return !contains(work, right, left);
  if (spelt == "<") return is_less(work, left, right);
  if (spelt == ">") return is_less(work, right, left);
  const bool is_le = spelt == "<=";
  const bool is_strict = is_le ? is_less(work, left, right) : is_less(work, right, left);
  return is_strict || is_equal(work, left, right);
}

bool contains(Work& work, const Value& whole, const Value& part) {
  if (whole.is_undefined()) return false;
  if (const Text* text = whole.text()) {
    if (!part.is_text()) fail("expected a text to look for in a text, found a ", part.type());
    work.look(text->size());
    return text->bytes().find(part.text()->bytes()) != std::string::npos;
  }
  if (const Dict* dict = whole.dict()) {
    if (part.text() != nullptr) work.look(part.text()->size());
    return dict->find(part) != nullptr;
  }
  if (whole.list() == nullptr) fail("expected a list, dict or text, found a ", whole.type());
  for (const Value& item : whole.list()->items) {
    if (is_equal(work, item, part)) return true;
  }
  return false;
}

}  // namespace hypenet::jinja
