// JSON files, and config structs that read and write themselves from one list of fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace hypenet {

/// Objects keep the order of their keys, so a config file is written in the order a reader expects.
using Json = nlohmann::ordered_json;

/// For objects of 10^5 keys, as vocabularies are: one that keeps their order looks each of them up
/// one by one.
using SortedJson = nlohmann::json;

/// Parses a JSON file. Throws Error naming the file when it is missing or not JSON.
Json read_json(const std::filesystem::path& path);

/// Parses JSON text; `place` names it in errors.
Json parse_json(std::string_view text, std::string_view place);

/// Writes JSON, indented by two, temporary-then-rename.
void write_json(const std::filesystem::path& path, const Json& json);

/// What kind of JSON value this is, for error texts: "a string", "an integer", "null" ...
std::string_view json_kind(const Json& json);

/// Where two values differ first: "optimizer.peak_lr: expected 0.1, found 0.2"; empty when equal.
std::string first_difference(const Json& expected, const Json& found);

namespace json_detail {

template <class T>
concept Struct = requires(T& value) {
  value.visit([](const char*, auto&) {});
};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

void read_value(const Json& json, const std::string& place, bool& value);
void read_value(const Json& json, const std::string& place, int64_t& value);
void read_value(const Json& json, const std::string& place, double& value);
void read_value(const Json& json, const std::string& place, std::string& value);
void read_value(const Json& json, const std::string& place, Json& value);
template <class T>
Json write_value(const T& value) {
  return Json(value);
}
void check_keys(const Json& json, const std::string& place, const std::set<std::string>& known);

}  // namespace json_detail

/// Reads a struct from a JSON object. The struct lists its fields once:
///   struct Schedule {
///     double peak_lr = 1e-3;
///     template <class Visitor> void visit(Visitor&& field) { field("peak_lr", peak_lr); }
///   };
/// Field types: bool, int64_t, double, std::string, Json (taken as it is), such structs, types with
/// read_value(json, place, value) and write_value(value) beside them, and std::optional (null is
/// nullopt) and std::vector of these. A missing key keeps the member's value; an unknown key and a
/// value of the wrong kind throw Error with the key's full path
/// ("recipe.json: stage1.steps: expected an integer, found a string").
template <class T>
void read_fields(const Json& json, const std::string& place, T& value) {
  if constexpr (json_detail::IsOptional<T>::value) {
    if (json.is_null()) {
      value.reset();
    } else {
      read_fields(json, place, value.emplace());
    }
  } else if constexpr (json_detail::IsVector<T>::value) {
    HYPENET_CHECK(json.is_array(), place, ": expected an array, found ", json_kind(json));
    value.clear();
    for (size_t i = 0; i < json.size(); ++i) {
      read_fields(json[i], concat(place, "[", i, "]"), value.emplace_back());
    }
  } else if constexpr (json_detail::Struct<T>) {
    HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
    std::set<std::string> known;
    value.visit([&](const char* name, auto& member) {
      known.insert(name);
      if (json.contains(name)) read_fields(json.at(name), concat(place, ": ", name), member);
    });
    json_detail::check_keys(json, place, known);
  } else {
    using json_detail::read_value;
    read_value(json, place, value);
  }
}

/// The inverse of read_fields: every field, in the order of visit.
template <class T>
Json write_fields(const T& value) {
  if constexpr (json_detail::IsOptional<T>::value) {
    return value ? write_fields(*value) : Json(nullptr);
  } else if constexpr (json_detail::IsVector<T>::value) {
    Json json = Json::array();
    for (const auto& item : value) json.push_back(write_fields(item));
    return json;
  } else if constexpr (json_detail::Struct<T>) {
    Json json = Json::object();
    const_cast<T&>(value).visit(
        [&](const char* name, const auto& member) { json[name] = write_fields(member); });
    return json;
  } else {
    using json_detail::write_value;
    return write_value(value);
  }
}

}  // namespace hypenet
