// The values of a template, as Python has them: immutable and shared, namespaces apart.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja/text.h"

namespace hypenet::jinja {

class Value;
class Work;
struct Builtin;
struct Closure;

/// What is not there. It prints as nothing; most uses fail with its reason.
struct Undefined {
  std::shared_ptr<const std::string> reason = {};  // "'x' is undefined"
};
struct None {};

struct List;
struct Dict;
struct Loop;
struct Namespace;
struct Callable;

/// Containers in containers, at most: each knows its height, so whatever walks through one ends.
constexpr int kMostHeight = 1000;

class Value {
 public:
  Value() = default;
  Value(None none) : data_(none) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  Value(List list);
  Value(Dict dict);
  Value(Callable callable);
  Value(std::shared_ptr<const Loop> loop) : data_(std::move(loop)) {}
  Value(Namespace* space) : data_(space) {}
  Value(const char*) = delete;
  Value(std::nullptr_t) = delete;

  static Value undefined(std::string reason);
  static Value none() { return Value(None{}); }
  static Value own(std::string_view text) { return Value(Text(std::string(text))); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return is_bool() || std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_integer() || is_float(); }
  bool is_text() const { return text() != nullptr; }

  /// Null, or nothing, where it is of another kind.
  const Text* text() const { return get<std::shared_ptr<const Text>>(); }
  const List* list() const { return get<std::shared_ptr<const List>>(); }
  const Dict* dict() const { return get<std::shared_ptr<const Dict>>(); }
  const Loop* loop() const { return get<std::shared_ptr<const Loop>>(); }
  const Callable* callable() const { return get<std::shared_ptr<const Callable>>(); }
  Namespace* name_space() const {
    const auto* space = std::get_if<Namespace*>(&data_);
    return space == nullptr ? nullptr : *space;
  }

  /// Of integers and booleans.
  int64_t integer() const;
  /// Of all numbers.
  double number() const;
  bool is_true() const;

  /// The reason why an undefined value is.
  std::string reason() const;
  /// "str", "list" ..., as Python calls the type.
  std::string_view type() const;
  int height() const;

 private:
  template <class Pointer>
  auto get() const -> decltype(std::declval<Pointer>().get()) {
    const auto* pointer = std::get_if<Pointer>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>,
               std::shared_ptr<const Loop>, std::shared_ptr<const Callable>, Namespace*>
      data_;
};

struct List {
  std::vector<Value> items = {};
  bool is_tuple = false;
  int height = 0;  // set when it becomes a value
};

/// Keys in the order in which they came. A key is found by its spelling (dict_key).
struct Dict {
  std::vector<std::pair<Value, Value>> items = {};
  std::unordered_map<std::string, size_t> index = {};
  int height = 0;

  void set(const Value& key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

/// Where a for loop stands; `loop` is one.
struct Loop {
  std::vector<Value> items;
  int height = 0;  // above all items
  size_t index = 0;
  int64_t depth = 1;
  const Closure* closure = nullptr;  // of a recursive loop, which may be called
};

/// Its attributes may be set anew. The evaluator owns it.
struct Namespace {
  Dict attributes;
};

/// A function, a method with its object, or a macro.
struct Callable {
  const Builtin* builtin = nullptr;
  const Closure* closure = nullptr;
  Value self = {};
};

/// Two keys that are equal have one spelling. Throws Fault for what is no key (lists, dicts).
std::string dict_key(const Value& value);

/// JSON as a template sees it. Throws Error where it is nested too deeply.
Value from_json(const Json& json, Origin origin, int depth = 0);

/// Python's ==.
bool is_equal(Work& work, const Value& left, const Value& right);
/// Python's < of numbers, texts and lists. Throws Fault for other pairs.
bool is_less(Work& work, const Value& left, const Value& right);

}  // namespace hypenet::jinja
