// Reading the keys of a config.json one by one.
#pragma once

#include <string>
#include <utility>

#include "base/json.h"

namespace hypenet {

/// The keys of one JSON object, each error with the file and the key in front.
class ConfigKeys {
 public:
  ConfigKeys(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    HYPENET_CHECK(json.is_object(), place_, ": expected an object, found ", json_kind(json));
  }

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  const std::string& place() const { return place_; }
  std::string at(const char* key) const { return place_ + ": " + key; }

  const Json& json(const char* key) const {
    HYPENET_CHECK(json_.contains(key), at(key), ": expected a value, found no such key");
    return json_.at(key);
  }

  template <class T>
  T get(const char* key) const {
    T value{};
    read_fields(json(key), at(key), value);
    return value;
  }

  template <class T>
  T get(const char* key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }

  /// The value may be absent; when it is there, it must be this one.
  template <class T>
  void require(const char* key, const T& only) const {
    const T found = get<T>(key, only);
    HYPENET_CHECK(found == only, at(key), ": expected ", Json(only).dump(), ", found ",
                  Json(found).dump());
  }

 private:
  const Json& json_;
  std::string place_;
};

}  // namespace hypenet
