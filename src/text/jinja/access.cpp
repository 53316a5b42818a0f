// Attributes, items, slices, and what a loop goes through.
#include <algorithm>
#include <array>

#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

/// Methods that would change a dict: the sandbox tells nothing of them.
constexpr std::array<std::string_view, 5> kUnsafe = {"clear", "pop", "popitem", "setdefault",
                                                     "update"};

Value no_attribute(const Value& value, std::string_view name) {
  return Value::undefined(concat("'", value.type(), " object' has no attribute '", name, "'"));
}

Value loop_attribute(const Value& value, const Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto length = std::ssize(loop.items);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(length - index);
  if (name == "revindex0") return Value(length - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == length);
  if (name == "length") return Value(length);
  if (name == "depth") return Value(loop.depth);
  if (name == "depth0") return Value(loop.depth - 1);
  if (name == "previtem") {
    if (index == 0) return Value::undefined("there is no previous item");
    return loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    if (index + 1 == length) return Value::undefined("there is no next item");
    return loop.items[loop.index + 1];
  }
  return no_attribute(value, name);
}

/// The place of a character counted from either end; nothing outside.
std::optional<size_t> place_of(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  if (index < 0 || index >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(index);
}

/// Where each character begins, and the end.
std::vector<uint32_t> character_places(Work& work, const Text& text) {
  work.text(text.size());
  std::vector<uint32_t> places;
  for (size_t at = 0; at < text.size(); at += read_utf8(text.bytes(), at).size) {
    places.push_back(static_cast<uint32_t>(at));
  }
  places.push_back(static_cast<uint32_t>(text.size()));
  return places;
}

/// The places that a[b:c:d] takes, as Python has them.
std::vector<size_t> slice_places(size_t size, const Value* begin, const Value* end,
                                 const Value* step) {
  const int64_t stride = step == nullptr ? 1 : as_integer(*step, "a slice's step");
  if (stride == 0) fail("expected a slice with a step other than 0");
  const auto count = static_cast<int64_t>(size);
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? count : count - 1;
  const auto bound = [&](const Value* value, int64_t otherwise) {
    if (value == nullptr) return otherwise;
    int64_t at = as_integer(*value, "a slice's end");
    if (at < 0) at += count;
    return std::clamp(at, low, high);
  };
  const int64_t from = bound(begin, stride > 0 ? low : high);
  const int64_t to = bound(end, stride > 0 ? high : low);
  std::vector<size_t> places;
  for (int64_t at = from; stride > 0 ? at < to : at > to;) {
    places.push_back(static_cast<size_t>(at));
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  return places;
}

}  // namespace

Value attribute(Work& work, const Value& value, const std::string& name) {
  if (value.is_undefined()) fail(value.reason());
  if (const Builtin* method = find_method(value, name)) {
    return Value(Callable{method, nullptr, value});
  }
  if (const Loop* loop = value.loop()) return loop_attribute(value, *loop, name);
  const Namespace* const space = value.name_space();
  const Dict* const dict = space != nullptr ? &space->attributes : value.dict();
  const bool is_unsafe = space == nullptr && std::ranges::count(kUnsafe, name) > 0;
  if (dict == nullptr || is_unsafe) return no_attribute(value, name);
  work.look(name.size());
  const Value* const found = dict->find(name);
  return found != nullptr ? *found : no_attribute(value, name);
}

Value item(Work& work, const Value& value, const Value& key) {
  if (value.is_undefined()) fail(value.reason());
  if (const Dict* dict = value.dict(); dict != nullptr && key.list() == nullptr) {
    if (key.text() != nullptr) work.look(key.text()->size());
    if (key.dict() != nullptr) return no_attribute(value, "a dict");
    if (const Value* found = dict->find(key)) return *found;
  }
  if (key.is_integer()) {
    const List* const list = value.list();
    const auto missing = [&] {
      return Value::undefined(concat("'", value.type(), " object' has no element ", key.integer()));
    };
    if (list != nullptr) {
      const auto place = place_of(key.integer(), list->items.size());
      return place ? list->items[*place] : missing();
    }
    if (const Text* text = value.text()) {
      const std::vector<uint32_t> places = character_places(work, *text);
      const auto place = place_of(key.integer(), places.size() - 1);
      if (!place) return missing();
      return Value(text->slice(places[*place], places[*place + 1] - places[*place]));
    }
    return missing();
  }
  if (key.text() == nullptr) {
    return Value::undefined(concat("'", value.type(), " object' has no such element"));
  }
  const bool has_methods = find_method(value, key.text()->bytes()) != nullptr;
  if (value.dict() != nullptr && !has_methods) return no_attribute(value, key.text()->bytes());
  return attribute(work, value, key.text()->bytes());
}

Value slice(Work& work, const Value& value, const Value* begin, const Value* end,
            const Value* step) {
  if (value.is_undefined()) fail(value.reason());
  if (const Text* text = value.text()) {
    const std::vector<uint32_t> ends = character_places(work, *text);
    const std::vector<size_t> places = slice_places(ends.size() - 1, begin, end, step);
    const bool is_run = !places.empty() && places.back() - places[0] + 1 == places.size();
    if (is_run && (places.size() == 1 || places[1] > places[0])) {
      return Value(text->slice(ends[places[0]], ends[places.back() + 1] - ends[places[0]]));
    }
    Text result;
    for (const size_t at : places) result.append(*text, ends[at], ends[at + 1] - ends[at]);
    return Value(std::move(result));
  }
  const List* const list = value.list();
  if (list == nullptr) {
    return Value::undefined(concat("'", value.type(), " object' has no slices"));
  }
  List result;
  result.is_tuple = list->is_tuple;
  for (const size_t at : slice_places(list->items.size(), begin, end, step)) {
    result.items.push_back(list->items[at]);
  }
  work.items(result.items.size());
  return Value(std::move(result));
}

std::vector<Value> items_of(Work& work, const Value& value) {
  if (value.is_undefined()) return {};
  if (const List* list = value.list()) {
    work.items(list->items.size());
    return list->items;
  }
  std::vector<Value> items;
  if (const Dict* dict = value.dict()) {
    work.items(dict->items.size());
    for (const auto& [key, kept] : dict->items) items.push_back(key);
    return items;
  }
  const Text* const text = value.text();
  if (text == nullptr) fail("expected a list, dict or text to go through, found a ", value.type());
  const std::vector<uint32_t> places = character_places(work, *text);
  work.items(places.size());
  for (size_t i = 0; i + 1 < places.size(); ++i) {
    items.emplace_back(text->slice(places[i], places[i + 1] - places[i]));
  }
  return items;
}

}  // namespace hypenet::jinja
