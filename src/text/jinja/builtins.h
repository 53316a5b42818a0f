// Filters, tests, functions and methods: rows of tables, found by name when a template is parsed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"
#include "text/jinja/work.h"

namespace hypenet::jinja {

struct Arguments {
  std::vector<Value> values = {};
  std::vector<std::pair<std::string, Value>> named = {};
};

/// What a builtin is called with. `self` is what a filter or test is of, or a method's object.
struct Call {
  Work& work;
  const Value& self;
  const Arguments& arguments;
  std::vector<const Value*> bound = {};  // one a parameter; null: not given

  bool has(size_t parameter) const { return bound[parameter] != nullptr; }
  const Value& operator[](size_t parameter) const { return *bound[parameter]; }
};

struct Builtin {
  std::string_view name;
  Value (*run)(const Call& call);
  std::string_view parameters = "";  // their names with spaces between; "*": whatever comes
  size_t required = 0;
};

const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);
/// Of values of this kind: "str", "dict".
const Builtin* find_method(const Value& self, std::string_view name);
bool is_method(std::string_view name);

/// What is wrong with a call of this many arguments and these names; empty: nothing.
std::string find_argument_fault(const Builtin& builtin, size_t count,
                                std::span<const std::string_view> names);

/// Throws Fault for arguments that do not fit, and where the builtin fails.
Value call_builtin(const Builtin& builtin, Work& work, const Value& self,
                   const Arguments& arguments);

/// The operators of expressions, in operators.cpp.
Value add(Work& work, const Value& left, const Value& right);
Value binary(Work& work, std::string_view spelt, const Value& left, const Value& right);
bool compare(Work& work, std::string_view spelt, const Value& left, const Value& right);
bool contains(Work& work, const Value& whole, const Value& part);

/// a.name and a[b], as the sandbox of jinja2 has them; undefined where there is no such thing.
Value attribute(Work& work, const Value& value, const std::string& name);
Value item(Work& work, const Value& value, const Value& key);
/// a[b:c:d]; null parts are missing.
Value slice(Work& work, const Value& value, const Value* begin, const Value* end,
            const Value* step);

/// What a for loop goes through: the items of a list, the keys of a dict, the characters of a text,
/// nothing of what is undefined. Throws Fault for other kinds.
std::vector<Value> items_of(Work& work, const Value& value);

/// An argument of a builtin as an integer or a text; Fault names it where it is another thing.
int64_t as_integer(const Value& value, std::string_view what);
const Text& as_text(const Value& value, std::string_view what);

/// json.dumps.
struct JsonStyle {
  bool is_ascii = false, sorts_keys = false;
  std::optional<Text> indent = {};
  Text item_separator = Text(", "), key_separator = Text(": ");
};
Text to_json_text(Work& work, const Value& value, const JsonStyle& style);

}  // namespace hypenet::jinja
