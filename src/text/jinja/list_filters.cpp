// Filters of lists and dicts. Where Python gives an iterator, here is a list.
#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"

namespace hypenet::jinja {
namespace {

Value tuple_of(Value first, Value second) {
  return Value(List{{std::move(first), std::move(second)}, /*is_tuple=*/true});
}

Value length(const Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) return Value(int64_t{0});
  if (const Text* text = value.text()) {
    call.work.look(text->size());
    return Value(count_characters(text->bytes()));
  }
  if (const List* list = value.list()) return Value(std::ssize(list->items));
  if (const Dict* dict = value.dict()) return Value(std::ssize(dict->items));
  if (const Loop* loop = value.loop()) return Value(std::ssize(loop->items));
  fail("length: expected a list, dict or text, found a ", value.type());
}

Value first(const Call& call) {
  const auto items = items_of(call.work, call.self);
  return items.empty() ? Value::undefined("there is no first item") : items.front();
}

Value last(const Call& call) {
  const auto items = items_of(call.work, call.self);
  return items.empty() ? Value::undefined("there is no last item") : items.back();
}

Value items(const Call& call) {
  if (call.self.is_undefined()) return Value(List{});
  const Dict* const dict = call.self.dict();
  if (dict == nullptr) fail("items: expected a dict, found a ", call.self.type());
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict->items) pairs.push_back(tuple_of(key, value));
  return list_of(call.work, std::move(pairs));
}

Value list(const Call& call) { return Value(List{items_of(call.work, call.self)}); }

Value join(const Call& call) {
  const Text between = call.has(0) ? to_text(call.work, call[0]) : Text();
  Text result;
  bool is_first = true;
  for (const Value& value : items_of(call.work, call.self)) {
    if (!is_first) result.append(between);
    is_first = false;
    const bool is_part = call.has(1) && !call[1].is_none();
    result.append(to_text(call.work, is_part ? attribute_path(call.work, value, call[1]) : value));
    call.work.size(result.size());
  }
  call.work.text(result.size());
  return Value(std::move(result));
}

/// The arguments behind the first `count`, for a filter or test that they name.
Arguments rest_of(const Call& call, size_t count) {
  const auto& values = call.arguments.values;
  return {{values.begin() + static_cast<int64_t>(count), values.end()}, call.arguments.named};
}

Value map_attribute(const Call& call) {
  const Value* path = nullptr;
  const Value* otherwise = nullptr;
  for (const auto& [name, value] : call.arguments.named) {
    if (name != "attribute" && name != "default") fail("map: expected no argument ", name);
    (name == "attribute" ? path : otherwise) = &value;
  }
  if (path == nullptr || !call.arguments.values.empty()) {
    fail("map: expected a filter or an attribute");
  }
  std::vector<Value> mapped;
  for (const Value& value : items_of(call.work, call.self)) {
    Value part = attribute_path(call.work, value, *path);
    if (part.is_undefined() && otherwise != nullptr) part = *otherwise;
    mapped.push_back(std::move(part));
  }
  return Value(List{std::move(mapped)});
}

Value map(const Call& call) {
  if (call.arguments.values.empty()) return map_attribute(call);
  const Text& name = as_text(call.arguments.values[0], "map: filter");
  const Builtin* const filter = find_filter(name.bytes());
  if (filter == nullptr) fail("map: expected a known filter, found ", in_quotes(name.bytes()));
  const Arguments rest = rest_of(call, 1);
  std::vector<Value> mapped;
  for (const Value& value : items_of(call.work, call.self)) {
    call.work.step();
    mapped.push_back(call_builtin(*filter, call.work, value, rest));
  }
  return Value(List{std::move(mapped)});
}

/// select and its kind: the items of which a test, or their own truth, is as `keeps`.
Value select_by(const Call& call, bool of_attribute, bool keeps) {
  const auto& values = call.arguments.values;
  if (of_attribute && values.empty()) fail("expected an attribute to select by");
  const size_t which = of_attribute ? 1 : 0;
  const Builtin* test = nullptr;
  if (values.size() > which) {
    const Text& name = as_text(values[which], "select: test");
    test = find_test(name.bytes());
    if (test == nullptr) fail("expected a known test, found ", in_quotes(name.bytes()));
  }
  const Arguments rest = rest_of(call, std::min(which + 1, values.size()));
  std::vector<Value> kept;
  for (const Value& value : items_of(call.work, call.self)) {
    call.work.step();
    const Value part = of_attribute ? attribute_path(call.work, value, values[0]) : value;
    const Value answer = test == nullptr ? part : call_builtin(*test, call.work, part, rest);
    if (answer.is_true() == keeps) kept.push_back(value);
  }
  return Value(List{std::move(kept)});
}

Value select(const Call& call) { return select_by(call, false, true); }
Value reject(const Call& call) { return select_by(call, false, false); }
Value select_attribute(const Call& call) { return select_by(call, true, true); }
Value reject_attribute(const Call& call) { return select_by(call, true, false); }

/// What items are ordered and told apart by.
Value key_of(const Call& call, const Value& value, const Value* path, bool has_case) {
  const bool is_part = path != nullptr && !path->is_none();
  const Value part = is_part ? attribute_path(call.work, value, *path) : value;
  return has_case ? part : without_case(call.work, part);
}

using Keyed = std::pair<Value, Value>;

void sort_by_key(Work& work, std::vector<Keyed>& rows, bool is_reversed) {
  std::ranges::stable_sort(rows, [&](const Keyed& left, const Keyed& right) {
    return is_reversed ? is_less(work, right.first, left.first)
                       : is_less(work, left.first, right.first);
  });
}

Value values_of(const Call& call, std::vector<Keyed> rows) {
  std::vector<Value> values;
  values.reserve(rows.size());
  for (Keyed& row : rows) values.push_back(std::move(row.second));
  return list_of(call.work, std::move(values));
}

Value dict_sort(const Call& call) {
  const Dict* const dict = call.self.dict();
  if (call.self.is_undefined()) fail(call.self.reason());
  if (dict == nullptr) fail("dictsort: expected a dict, found a ", call.self.type());
  const bool by_value = call.has(1) && as_text(call[1], "dictsort: by").bytes() == "value";
  if (call.has(1) && !by_value && call[1].text()->bytes() != "key") {
    fail("dictsort: expected by key or value, found ", in_quotes(call[1].text()->bytes()));
  }
  std::vector<Keyed> rows;
  for (const auto& [key, value] : dict->items) {
    rows.emplace_back(key_of(call, by_value ? value : key, nullptr, flag_or(call, 0, false)),
                      tuple_of(key, value));
  }
  sort_by_key(call.work, rows, flag_or(call, 2, false));
  return values_of(call, std::move(rows));
}

Value sort(const Call& call) {
  std::vector<Keyed> rows;
  for (const Value& value : items_of(call.work, call.self)) {
    const Value* const path = call.has(2) ? &call[2] : nullptr;
    rows.emplace_back(key_of(call, value, path, flag_or(call, 1, false)), value);
  }
  sort_by_key(call.work, rows, flag_or(call, 0, false));
  return values_of(call, std::move(rows));
}

Value extreme(const Call& call, bool is_greatest) {
  std::vector<Keyed> rows;
  for (const Value& value : items_of(call.work, call.self)) {
    const Value* const path = call.has(1) ? &call[1] : nullptr;
    rows.emplace_back(key_of(call, value, path, flag_or(call, 0, false)), value);
  }
  if (rows.empty()) return Value::undefined("there is no item");
  sort_by_key(call.work, rows, is_greatest);
  return rows[0].second;
}

Value least(const Call& call) { return extreme(call, false); }
Value greatest(const Call& call) { return extreme(call, true); }

Value sum(const Call& call) {
  Value total = call.has(1) ? call[1] : Value(int64_t{0});
  for (const Value& value : items_of(call.work, call.self)) {
    const Value* const path = call.has(0) ? &call[0] : nullptr;
    total = binary(call.work, "+", total, key_of(call, value, path, true));
  }
  return total;
}

Value unique(const Call& call) {
  std::set<std::string> seen;
  std::vector<Value> kept;
  for (const Value& value : items_of(call.work, call.self)) {
    const Value* const path = call.has(1) ? &call[1] : nullptr;
    const Value key = key_of(call, value, path, flag_or(call, 0, false));
    if (key.is_text()) call.work.text(key.text()->size());
    if (seen.insert(dict_key(key)).second) kept.push_back(value);
  }
  return Value(List{std::move(kept)});
}

Value reverse(const Call& call) {
  auto items = items_of(call.work, call.self);
  std::ranges::reverse(items);
  if (!call.self.is_text()) return Value(List{std::move(items)});
  Text text;
  for (const Value& character : items) text.append(*character.text());
  return Value(std::move(text));
}

}  // namespace

std::span<const Builtin> list_filters() {
  static constexpr std::array kRows = {Builtin{"count", length},
                                       Builtin{"dictsort", dict_sort, "case_sensitive by reverse"},
                                       Builtin{"first", first},
                                       Builtin{"items", items},
                                       Builtin{"join", join, "d attribute"},
                                       Builtin{"last", last},
                                       Builtin{"length", length},
                                       Builtin{"list", list},
                                       Builtin{"map", map, "*"},
                                       Builtin{"max", greatest, "case_sensitive attribute"},
                                       Builtin{"min", least, "case_sensitive attribute"},
                                       Builtin{"reject", reject, "*"},
                                       Builtin{"rejectattr", reject_attribute, "*"},
                                       Builtin{"reverse", reverse},
                                       Builtin{"select", select, "*"},
                                       Builtin{"selectattr", select_attribute, "*"},
                                       Builtin{"sort", sort, "reverse case_sensitive attribute"},
                                       Builtin{"sum", sum, "attribute start"},
                                       Builtin{"unique", unique, "case_sensitive attribute"}};
  return kRows;
}

}  // namespace hypenet::jinja
