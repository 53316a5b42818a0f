// A container is put together when it ends: Json's objects search all keys for each new one and
// copy what they hold when they grow.
#include "base/bounded_json.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hypenet {
namespace {

/// A container that has begun. The keys of an array are empty.
struct Open {
  bool is_object = false;
  std::vector<std::pair<std::string, Json>> items = {};
};

constexpr size_t kFewKeys = 16;

/// Of equal keys the last one stays, in the place of the first, as in parse_json_text.
void drop_repeated_keys(std::vector<std::pair<std::string, Json>>& items) {
  std::unordered_map<std::string_view, size_t> places;
  if (items.size() > kFewKeys) places.reserve(items.size());
  const auto place_of = [&](size_t i) {
    if (items.size() > kFewKeys) return places.emplace(items[i].first, i).first->second;
    size_t place = 0;
    while (items[place].first != items[i].first) ++place;
    return place;
  };
  std::vector<bool> repeats(items.size(), false);
  size_t repeated = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const size_t place = place_of(i);
    if (place == i) continue;
    items[place].second = std::move(items[i].second);
    repeats[i] = true;
    ++repeated;
  }
  if (repeated == 0) return;
  size_t kept = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (repeats[i]) continue;
    if (kept != i) items[kept] = std::move(items[i]);
    ++kept;
  }
  items.resize(kept);
}

Json close(Open& open) {
  if (!open.is_object) {
    Json array = Json::array();
    auto& values = array.get_ref<Json::array_t&>();
    values.reserve(open.items.size());
    for (auto& [key, value] : open.items) values.push_back(std::move(value));
    return array;
  }
  drop_repeated_keys(open.items);
  Json object = Json::object();
  auto& members = object.get_ref<Json::object_t&>();
  members.reserve(open.items.size());
  using Members = Json::object_t::Container;
  for (auto& [key, value] : open.items) {
    static_cast<Members&>(members).emplace_back(std::move(key), std::move(value));
  }
  return object;
}

/// What nlohmann's parser calls, event by event; false ends the parse.
class Builder {
 public:
  explicit Builder(int64_t most_nested) : most_nested_(most_nested) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return begin(true); }
  bool start_array(size_t) { return begin(false); }
  bool end_object() { return end(); }
  bool end_array() { return end(); }
  bool key(std::string& name) {
    open_.back().items.emplace_back(std::move(name), nullptr);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
    fault_ = json_fault(error);
    return false;
  }

  const std::optional<JsonFault>& fault() const { return fault_; }
  Json take() { return std::move(root_); }

 private:
  bool put(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().items.back().second = std::move(value);
    } else {
      open_.back().items.emplace_back(std::string(), std::move(value));
    }
    return true;
  }

  bool begin(bool is_object) {
    if (std::ssize(open_) == most_nested_) {
      fault_ = {concat("nesting over ", most_nested_, " deep"), 0};
      return false;
    }
    open_.push_back({.is_object = is_object});
    return true;
  }

  bool end() {
    Open ended = std::move(open_.back());
    open_.pop_back();
    return put(close(ended));
  }

  int64_t most_nested_;
  std::vector<Open> open_;
  Json root_;
  std::optional<JsonFault> fault_;
};

}  // namespace

std::optional<JsonFault> parse_bounded_json(std::string_view text, int64_t most_nested,
                                            Json& value) {
  if (auto fault = find_json_fault(text)) return fault;
  Builder builder(most_nested);
  if (!Json::sax_parse(text, &builder)) return builder.fault();
  value = builder.take();
  return std::nullopt;
}

}  // namespace hypenet
