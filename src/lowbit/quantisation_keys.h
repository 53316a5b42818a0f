// Keys of config.json's quantization_config, each checked for its kind. Keys that nobody asks for
// are passed over: they say how the folder was made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// An object and where it stands: "config.json: quantization_config".
class QuantisationKeys {
 public:
  /// Throws Error unless it is an object.
  QuantisationKeys(Json json, std::string place);

  const std::string& place() const { return place_; }
  std::string at(std::string_view key) const { return concat(place_, ": ", key); }
  const Json& json() const { return json_; }
  /// There, and not null.
  bool has(const std::string& key) const;

  /// The value. Throws Error where it is missing or of another kind.
  template <class T>
  T get(const std::string& key) const {
    T found{};
    read_fields(value(key), at(key), found);
    return found;
  }
  /// The same, with a value for what is missing or null.
  template <class T>
  T get(const std::string& key, T otherwise) const {
    return has(key) ? get<T>(key) : otherwise;
  }
  QuantisationKeys object(const std::string& key) const { return {value(key), at(key)}; }

  /// Throws Error unless the text, `otherwise` where it is missing, is one of these.
  std::string one_of(const std::string& key, const std::vector<std::string>& known,
                     const std::string& otherwise) const;
  /// The columns that share a scale, 0 for -1: all of them. Throws Error for other sizes below 1.
  int64_t group(const std::string& key) const;
  /// 4 or 8, or what `known` has.
  int64_t bits(const std::string& key, const std::vector<int64_t>& known) const;

 private:
  const Json& value(const std::string& key) const;

  Json json_;
  std::string place_;
};

}  // namespace hypenet
