// Methods of texts, dicts, lists and loops. What would change a list or dict is refused, as in
// transformers.
#include <array>

#include "text/jinja/strings.h"
#include "text/jinja/tables.h"
#include "text/unicode.h"

namespace hypenet::jinja {
namespace {

const Text& self_text(const Call& call) {
  call.work.look(call.self.text()->size());
  return *call.self.text();
}

Value list_of_texts(const Call& call, std::vector<Text> texts) {
  std::vector<Value> items;
  for (Text& text : texts) {
    call.work.text(text.size());
    items.emplace_back(std::move(text));
  }
  return list_of(call.work, std::move(items));
}

Value split_from(const Call& call, bool from_right) {
  const Text* const separator = text_or_null(call, 0, "split: sep");
  return list_of_texts(call, split(self_text(call), separator,
                                   integer_or(call, 1, "split: maxsplit", -1), from_right));
}
Value split_left(const Call& call) { return split_from(call, false); }
Value split_right(const Call& call) { return split_from(call, true); }
Value lines(const Call& call) {
  return list_of_texts(call, split_lines(self_text(call), flag_or(call, 0, false)));
}

Value strip_at(const Call& call, bool left, bool right) {
  call.work.text(call.self.text()->size());
  return Value(strip(*call.self.text(), text_or_null(call, 0, "strip: chars"), left, right));
}
Value strip_both(const Call& call) { return strip_at(call, true, true); }
Value strip_first(const Call& call) { return strip_at(call, true, false); }
Value strip_last(const Call& call) { return strip_at(call, false, true); }

/// startswith and endswith, of a text or any of a tuple.
template <class Has>
Value has_any(const Call& call, const Has& has) {
  const std::string_view text = self_text(call).bytes();
  const List* const list = call[0].list();
  if (list == nullptr || !list->is_tuple) {
    return Value(bool(has(text, as_text(call[0], "startswith").bytes())));
  }
  for (const Value& part : list->items) {
    if (has(text, as_text(part, "startswith").bytes())) return Value(true);
  }
  return Value(false);
}
Value starts_with(const Call& call) {
  return has_any(
      call, [](std::string_view text, std::string_view part) { return text.starts_with(part); });
}
Value ends_with(const Call& call) {
  return has_any(call,
                 [](std::string_view text, std::string_view part) { return text.ends_with(part); });
}

Value replace_in(const Call& call) {
  const Text& old = as_text(call[0], "replace: old");
  const Text& with = as_text(call[1], "replace: new");
  return Value(
      replace(call.work, *call.self.text(), old, with, integer_or(call, 2, "replace: count", -1)));
}

template <Case kKind>
Value in_case(const Call& call) {
  call.work.text(call.self.text()->size());
  return Value(with_case(*call.self.text(), kKind));
}

Value place_in(const Call& call, size_t byte) {
  if (byte == std::string::npos) return Value(int64_t{-1});
  return Value(count_characters(call.self.text()->bytes().substr(0, byte)));
}
Value find_first(const Call& call) {
  return place_in(call, self_text(call).bytes().find(as_text(call[0], "find").bytes()));
}
Value find_last(const Call& call) {
  return place_in(call, self_text(call).bytes().rfind(as_text(call[0], "rfind").bytes()));
}

Value count_in(const Call& call) {
  const std::string& text = self_text(call).bytes();
  const std::string& part = as_text(call[0], "count").bytes();
  if (part.empty()) return Value(count_characters(text) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return Value(count);
}

Value join_texts(const Call& call) {
  Text result;
  bool is_first = true;
  for (const Value& value : items_of(call.work, call[0])) {
    if (!is_first) result.append(*call.self.text());
    is_first = false;
    result.append(as_text(value, "join"));
    call.work.size(result.size());
  }
  call.work.text(result.size());
  return Value(std::move(result));
}

Value is_digits(const Call& call) {
  const std::string& text = self_text(call).bytes();
  return Value(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos);
}

Value without_prefix(const Call& call) {
  const Text& text = self_text(call);
  const std::string& part = as_text(call[0], "removeprefix").bytes();
  if (!text.bytes().starts_with(part)) return call.self;
  return Value(text.slice(part.size(), text.size() - part.size()));
}
Value without_suffix(const Call& call) {
  const Text& text = self_text(call);
  const std::string& part = as_text(call[0], "removesuffix").bytes();
  if (!text.bytes().ends_with(part)) return call.self;
  return Value(text.slice(0, text.size() - part.size()));
}

Value dict_items(const Call& call) {
  const Arguments none;
  return call_builtin(*find_filter("items"), call.work, call.self, none);
}
Value dict_keys(const Call& call) { return Value(List{items_of(call.work, call.self)}); }
Value dict_values(const Call& call) {
  std::vector<Value> values;
  for (const auto& [key, value] : call.self.dict()->items) values.push_back(value);
  return list_of(call.work, std::move(values));
}
Value dict_get(const Call& call) {
  if (call[0].text() != nullptr) call.work.look(call[0].text()->size());
  if (const Value* found = call.self.dict()->find(call[0])) return *found;
  return call.has(1) ? call[1] : Value::none();
}

Value append(const Call&) {
  fail("append: expected a list that nobody changes (list + [item] makes another)");
}
Value index_of(const Call& call) {
  const List& list = *call.self.list();
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (is_equal(call.work, list.items[i], call[0])) return Value(static_cast<int64_t>(i));
  }
  fail("index: expected an item of the list, found another");
}
Value count_items(const Call& call) {
  int64_t count = 0;
  for (const Value& item : call.self.list()->items) {
    count += is_equal(call.work, item, call[0]) ? 1 : 0;
  }
  return Value(count);
}

Value cycle(const Call& call) {
  const auto& values = call.arguments.values;
  if (values.empty()) fail("cycle: expected items to choose from, found none");
  return values[call.self.loop()->index % values.size()];
}

}  // namespace

std::span<const Builtin> text_methods() {
  static constexpr std::array kRows = {Builtin{"capitalize", in_case<Case::kCapital>},
                                       Builtin{"count", count_in, "sub", 1},
                                       Builtin{"endswith", ends_with, "suffix", 1},
                                       Builtin{"find", find_first, "sub", 1},
                                       Builtin{"isdigit", is_digits},
                                       Builtin{"join", join_texts, "iterable", 1},
                                       Builtin{"lower", in_case<Case::kLower>},
                                       Builtin{"lstrip", strip_first, "chars"},
                                       Builtin{"removeprefix", without_prefix, "prefix", 1},
                                       Builtin{"removesuffix", without_suffix, "suffix", 1},
                                       Builtin{"replace", replace_in, "old new count", 2},
                                       Builtin{"rfind", find_last, "sub", 1},
                                       Builtin{"rsplit", split_right, "sep maxsplit"},
                                       Builtin{"rstrip", strip_last, "chars"},
                                       Builtin{"split", split_left, "sep maxsplit"},
                                       Builtin{"splitlines", lines, "keepends"},
                                       Builtin{"startswith", starts_with, "prefix", 1},
                                       Builtin{"strip", strip_both, "chars"},
                                       Builtin{"title", in_case<Case::kTitle>},
                                       Builtin{"upper", in_case<Case::kUpper>}};
  return kRows;
}

std::span<const Builtin> dict_methods() {
  static constexpr std::array kRows = {Builtin{"get", dict_get, "key default", 1},
                                       Builtin{"items", dict_items}, Builtin{"keys", dict_keys},
                                       Builtin{"values", dict_values}};
  return kRows;
}

std::span<const Builtin> list_methods() {
  static constexpr std::array kRows = {Builtin{"append", append, "item", 1},
                                       Builtin{"count", count_items, "item", 1},
                                       Builtin{"index", index_of, "item", 1}};
  return kRows;
}

std::span<const Builtin> loop_methods() {
  static constexpr std::array kRows = {Builtin{"cycle", cycle, "*"}};
  return kRows;
}

}  // namespace hypenet::jinja
