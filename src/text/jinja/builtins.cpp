// Builtins by name, and the binding of arguments to their parameters.
#include "text/jinja/builtins.h"

#include <algorithm>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"

namespace hypenet::jinja {
namespace {

const Builtin* find(std::span<const Builtin> table, std::string_view name) {
  const auto row = std::ranges::find(table, name, &Builtin::name);
  return row == table.end() ? nullptr : &*row;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    result.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

}  // namespace

const Builtin* find_filter(std::string_view name) {
  const Builtin* const found = find(text_filters(), name);
  return found != nullptr ? found : find(list_filters(), name);
}

const Builtin* find_test(std::string_view name) { return find(tests(), name); }

const Builtin* find_function(std::string_view name) { return find(functions(), name); }

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.is_text()) return find(text_methods(), name);
  if (self.dict() != nullptr) return find(dict_methods(), name);
  if (self.list() != nullptr) return find(list_methods(), name);
  return self.loop() != nullptr ? find(loop_methods(), name) : nullptr;
}

bool is_method(std::string_view name) {
  return find(text_methods(), name) != nullptr || find(dict_methods(), name) != nullptr ||
         find(list_methods(), name) != nullptr || find(loop_methods(), name) != nullptr;
}

std::string find_argument_fault(const Builtin& builtin, size_t count,
                                std::span<const std::string_view> names) {
  if (builtin.parameters == "*") return "";
  const auto parameters = words(builtin.parameters);
  if (count > parameters.size()) {
    return concat(builtin.name, ": expected at most ", parameters.size(), " arguments, found ",
                  count);
  }
  std::vector<bool> is_given(parameters.size());
  std::fill_n(is_given.begin(), count, true);
  for (const std::string_view name : names) {
    const auto place = std::ranges::find(parameters, name);
    if (place == parameters.end()) return concat(builtin.name, ": expected no argument ", name);
    const auto which = static_cast<size_t>(place - parameters.begin());
    if (is_given[which]) {
      return concat(builtin.name, ": expected one argument ", name, ", found two");
    }
    is_given[which] = true;
  }
  for (size_t i = 0; i < builtin.required; ++i) {
    if (!is_given[i]) {
      return concat(builtin.name, ": expected an argument ", parameters[i], ", found none");
    }
  }
  return "";
}

Value call_builtin(const Builtin& builtin, Work& work, const Value& self,
                   const Arguments& arguments) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : arguments.named) names.push_back(name);
  const std::string fault = find_argument_fault(builtin, arguments.values.size(), names);
  if (!fault.empty()) throw Fault{fault};
  Call call{work, self, arguments};
  if (builtin.parameters == "*") return builtin.run(call);
  const auto parameters = words(builtin.parameters);
  call.bound.resize(parameters.size());
  for (size_t i = 0; i < arguments.values.size(); ++i) call.bound[i] = &arguments.values[i];
  for (const auto& [name, value] : arguments.named) {
    const auto which = std::ranges::find(parameters, name) - parameters.begin();
    call.bound[static_cast<size_t>(which)] = &value;
  }
  return builtin.run(call);
}

int64_t as_integer(const Value& value, std::string_view what) {
  if (value.is_undefined()) fail(value.reason());
  if (!value.is_integer()) fail(what, ": expected an integer, found a ", value.type());
  return value.integer();
}

const Text& as_text(const Value& value, std::string_view what) {
  if (value.is_undefined()) fail(value.reason());
  if (!value.is_text()) fail(what, ": expected a text, found a ", value.type());
  return *value.text();
}

int64_t integer_or(const Call& call, size_t parameter, std::string_view name, int64_t otherwise) {
  return call.has(parameter) ? as_integer(call[parameter], name) : otherwise;
}

bool flag_or(const Call& call, size_t parameter, bool otherwise) {
  return call.has(parameter) ? call[parameter].is_true() : otherwise;
}

const Text* text_or_null(const Call& call, size_t parameter, std::string_view name) {
  if (!call.has(parameter) || call[parameter].is_none()) return nullptr;
  return &as_text(call[parameter], name);
}

Value attribute_path(Work& work, Value value, const Value& path) {
  if (!path.is_text()) return item(work, value, path);
  std::string_view rest = path.text()->bytes();
  while (true) {
    const size_t end = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, end));
    const bool is_index = !part.empty() && part.size() < 10 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
    value = item(work, value,
                 is_index ? Value(static_cast<int64_t>(std::stoll(part))) : Value::own(part));
    if (end == rest.size()) return value;
    rest.remove_prefix(end + 1);
  }
}

Value without_case(Work& work, const Value& value) {
  if (!value.is_text()) return value;
  work.text(value.text()->size());
  return Value(with_case(*value.text(), Case::kLower));
}

Value list_of(Work& work, std::vector<Value> items) {
  work.items(items.size());
  return Value(List{std::move(items)});
}

}  // namespace hypenet::jinja
