// The tables of builtins, one a file, and what those files share.
#pragma once

#include <span>
#include <string>

#include "text/jinja/builtins.h"

namespace hypenet::jinja {

std::span<const Builtin> text_filters();  // text_filters.cpp
std::span<const Builtin> list_filters();  // list_filters.cpp
std::span<const Builtin> tests();         // checks.cpp
std::span<const Builtin> text_methods();  // methods.cpp
std::span<const Builtin> dict_methods();
std::span<const Builtin> list_methods();
std::span<const Builtin> loop_methods();
std::span<const Builtin> functions();  // functions.cpp

/// An argument, or what it is where it is not given.
int64_t integer_or(const Call& call, size_t parameter, std::string_view name, int64_t otherwise);
bool flag_or(const Call& call, size_t parameter, bool otherwise);
/// Null where it is not given or none.
const Text* text_or_null(const Call& call, size_t parameter, std::string_view name);

/// a.b.0: an attribute of an attribute, as filters name them.
Value attribute_path(Work& work, Value value, const Value& path);

/// A text in lower case, for filters that do not tell cases apart; other values as they are.
Value without_case(Work& work, const Value& value);

Value list_of(Work& work, std::vector<Value> items);

}  // namespace hypenet::jinja
