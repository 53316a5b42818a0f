// A container is put together when it ends: Json's objects search all keys for each new one and
// copy what they hold when they grow.
#include "base/bounded_json.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hypenet {
namespace {

/// A container that has begun. An array has no keys.
struct Open {
  bool is_object = false;
  std::vector<std::string> keys = {};
  std::vector<Json> values = {};
};

/// Of equal keys the last one's value counts, in the place of the first, as in parse_json_text: the
/// place of each member among those that stay.
std::vector<size_t> places_of(const std::vector<std::string>& keys) {
  constexpr size_t kFewKeys = 16;
  std::vector<size_t> places;
  places.reserve(keys.size());
  size_t count = 0;
  if (keys.size() <= kFewKeys) {
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto first = std::find(keys.begin(), keys.end(), keys[i]) - keys.begin();
      const bool is_first = static_cast<size_t>(first) == i;
      places.push_back(is_first ? count++ : places[static_cast<size_t>(first)]);
    }
    return places;
  }
  std::unordered_map<std::string_view, size_t> found;
  found.reserve(keys.size());
  for (const std::string& key : keys) {
    const auto [place, is_first] = found.emplace(key, count);
    count += is_first ? 1 : 0;
    places.push_back(place->second);
  }
  return places;
}

Json close(Open& open) {
  if (!open.is_object) return Json(std::move(open.values));
  const std::vector<size_t> places = places_of(open.keys);
  Json object = Json::object();
  Json::object_t::Container& members = object.get_ref<Json::object_t&>();
  members.reserve(places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] < members.size()) {
      members[places[i]].second = std::move(open.values[i]);
    } else {
      members.emplace_back(std::move(open.keys[i]), std::move(open.values[i]));
    }
  }
  return object;
}

/// What nlohmann's parser calls, event by event; false ends the parse.
class Builder {
 public:
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
    open_.back().keys.push_back(std::move(name));
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
    } else {
      open_.back().values.push_back(std::move(value));
    }
    return true;
  }

  bool begin(bool is_object) {
    open_.push_back({.is_object = is_object});
    return true;
  }

  bool end() {
    Open ended = std::move(open_.back());
    open_.pop_back();
    return put(close(ended));
  }

  std::vector<Open> open_;
  Json root_;
  std::optional<JsonFault> fault_;
};

}  // namespace

std::optional<JsonFault> parse_bounded_json(std::string_view text, int64_t most_nested,
                                            Json& value) {
  if (auto fault = find_json_fault(text, most_nested)) return fault;
  Builder builder;
  if (!Json::sax_parse(text, &builder)) return builder.fault();
  value = builder.take();
  return std::nullopt;
}

}  // namespace hypenet
