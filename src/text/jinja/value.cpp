// Kinds, order and equality of values.
#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/work.h"

namespace hypenet::jinja {
namespace {

constexpr size_t kMostKey = 1 << 20;  // a tuple's

void check_height(int height) {
  if (height > kMostHeight) fail("expected lists nested at most ", kMostHeight, " deep");
}

bool equal_lists(Work& work, const List& left, const List& right) {
  if (left.items.size() != right.items.size() || left.is_tuple != right.is_tuple) return false;
  for (size_t i = 0; i < left.items.size(); ++i) {
    if (!is_equal(work, left.items[i], right.items[i])) return false;
  }
  return true;
}

bool equal_dicts(Work& work, const Dict& left, const Dict& right) {
  if (left.items.size() != right.items.size()) return false;
  for (const auto& [key, value] : left.items) {
    const Value* other = right.find(key);
    if (other == nullptr || !is_equal(work, value, *other)) return false;
  }
  return true;
}

bool equal_numbers(const Value& left, const Value& right) {
  if (left.is_integer() && right.is_integer()) return left.integer() == right.integer();
  return left.number() == right.number();
}

bool less_lists(Work& work, const List& left, const List& right) {
  for (size_t i = 0; i < std::min(left.items.size(), right.items.size()); ++i) {
    if (is_equal(work, left.items[i], right.items[i])) continue;
    return is_less(work, left.items[i], right.items[i]);
  }
  return left.items.size() < right.items.size();
}

}  // namespace

Value::Value(List list) {
  for (const Value& item : list.items) list.height = std::max(list.height, item.height() + 1);
  check_height(list.height);
  data_ = std::make_shared<const List>(std::move(list));
}

Value::Value(Dict dict) {
  for (const auto& [key, value] : dict.items) {
    dict.height = std::max({dict.height, key.height() + 1, value.height() + 1});
  }
  check_height(dict.height);
  data_ = std::make_shared<const Dict>(std::move(dict));
}

Value::Value(Callable callable) : data_(std::make_shared<const Callable>(std::move(callable))) {}

Value Value::undefined(std::string reason) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(reason))};
  return value;
}

int64_t Value::integer() const {
  if (const bool* value = std::get_if<bool>(&data_)) return *value ? 1 : 0;
  return std::get<int64_t>(data_);
}

double Value::number() const {
  if (const double* value = std::get_if<double>(&data_)) return *value;
  return static_cast<double>(integer());
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0;
  if (const Text* value = text()) return value->size() > 0;
  if (const List* value = list()) return !value->items.empty();
  if (const Dict* value = dict()) return !value->items.empty();
  return true;
}

std::string Value::reason() const {
  const auto* value = std::get_if<Undefined>(&data_);
  return value != nullptr && value->reason ? *value->reason : "the value is undefined";
}

std::string_view Value::type() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "None";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (const List* value = list()) return value->is_tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  if (loop() != nullptr) return "loop";
  return callable() != nullptr ? "function" : "namespace";
}

int Value::height() const {
  if (const List* value = list()) return value->height;
  if (const Dict* value = dict()) return value->height;
  if (const Callable* value = callable()) return value->self.height() + 1;
  if (const Loop* value = loop()) return value->height;
  return 0;
}

void Dict::set(const Value& key, Value value) {
  const auto [place, is_new] = index.emplace(dict_key(key), items.size());
  if (is_new) {
    items.emplace_back(key, std::move(value));
  } else {
    items[place->second].second = std::move(value);
  }
}

const Value* Dict::find(const Value& key) const {
  const auto place = index.find(dict_key(key));
  return place == index.end() ? nullptr : &items[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto place = index.find(concat("s", key));
  return place == index.end() ? nullptr : &items[place->second].second;
}

std::string dict_key(const Value& value) {
  if (const Text* text = value.text()) return "s" + text->bytes();
  if (value.is_none()) return "n";
  if (value.is_undefined()) return "u";
  if (value.is_integer()) return "i" + std::to_string(value.integer());
  if (value.is_float()) {
    const double number = value.number();
    const bool is_whole = std::floor(number) == number && std::abs(number) < 9e18;
    if (is_whole) return "i" + std::to_string(static_cast<int64_t>(number));
    return "f" + std::string(reinterpret_cast<const char*>(&number), sizeof number);
  }
  if (const List* list = value.list(); list != nullptr && list->is_tuple) {
    std::string key = "t";
    for (const Value& item : list->items) {
      if (item.text() != nullptr) key += std::to_string(item.text()->size());
      if (item.list() == nullptr && key.size() < kMostKey) key += ":" + dict_key(item);
      if (item.list() != nullptr || key.size() > kMostKey) fail("expected a shorter key");
    }
    return key;
  }
  fail("expected a key that does not change, found a ", value.type());
}

Value from_json(const Json& json, Origin origin, int depth) {
  HYPENET_CHECK(depth < kMostHeight, "chat: expected values nested at most ", kMostHeight,
                " deep, found deeper ones");
  if (json.is_null()) return Value::none();
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) {
    return Value(json.get<double>());
  }
  if (json.is_number_integer()) return Value(json.get<int64_t>());
  if (json.is_number()) return Value(json.get<double>());
  if (json.is_string()) return Value(Text(json.get<std::string>(), origin));
  if (json.is_array()) {
    List list;
    list.items.reserve(json.size());
    for (const Json& item : json) list.items.push_back(from_json(item, origin, depth + 1));
    return Value(std::move(list));
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) {
    dict.set(Value(Text(key, origin)), from_json(item, origin, depth + 1));
  }
  return Value(std::move(dict));
}

bool is_equal(Work& work, const Value& left, const Value& right) {
  work.step();
  if (left.is_undefined() || right.is_undefined()) {
    return left.is_undefined() && right.is_undefined();
  }
  if (left.is_none() || right.is_none()) return left.is_none() && right.is_none();
  if (left.is_number() && right.is_number()) return equal_numbers(left, right);
  if (const Text* text = left.text(); text != nullptr && right.is_text()) {
    if (text->size() == right.text()->size()) work.look(text->size());
    return text->bytes() == right.text()->bytes();
  }
  if (left.list() != nullptr && right.list() != nullptr) {
    return left.list() == right.list() || equal_lists(work, *left.list(), *right.list());
  }
  if (left.dict() != nullptr && right.dict() != nullptr) {
    return left.dict() == right.dict() || equal_dicts(work, *left.dict(), *right.dict());
  }
  if (left.name_space() != nullptr) return left.name_space() == right.name_space();
  if (left.loop() != nullptr) return left.loop() == right.loop();
  return left.callable() != nullptr && left.callable() == right.callable();
}

bool is_less(Work& work, const Value& left, const Value& right) {
  work.step();
  if (left.is_number() && right.is_number()) {
    if (left.is_integer() && right.is_integer()) return left.integer() < right.integer();
    return left.number() < right.number();
  }
  if (left.is_text() && right.is_text()) {
    work.look(std::min(left.text()->size(), right.text()->size()));
    return left.text()->bytes() < right.text()->bytes();
  }
  const List* first = left.list();
  const List* second = right.list();
  if (first != nullptr && second != nullptr && first->is_tuple == second->is_tuple) {
    return less_lists(work, *first, *second);
  }
  if (left.is_undefined()) fail(left.reason());
  if (right.is_undefined()) fail(right.reason());
  fail("expected values with an order, found a ", left.type(), " and a ", right.type());
}

}  // namespace hypenet::jinja
