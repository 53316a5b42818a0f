// Values between Python and JSON.
#include <nanobind/stl/string.h>

#include "base/error.h"
#include "bindings.h"

namespace hypenet {
namespace {

namespace nb = nanobind;

constexpr int kMostDepth = 100;

Json read(nb::handle value, const char* place, int depth) {
  HYPENET_CHECK(depth < kMostDepth, place, ": expected at most ", kMostDepth, " levels");
  if (value.is_none()) return nullptr;
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::int_>(value)) return nb::cast<int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<nb::dict>(value)) {
    Json object = Json::object();
    for (const auto& [key, item] : nb::borrow<nb::dict>(value)) {
      HYPENET_CHECK(nb::isinstance<nb::str>(key), place, ": expected keys of text");
      object[nb::cast<std::string>(key)] = read(item, place, depth + 1);
    }
    return object;
  }
  const bool is_list = nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value);
  HYPENET_CHECK(is_list, place, ": expected numbers, text, lists and dicts, found ",
                nb::cast<std::string>(value.type().attr("__name__")));
  Json array = Json::array();
  for (const nb::handle item : value) array.push_back(read(item, place, depth + 1));
  return array;
}

}  // namespace

Json json_of(nb::handle value, const char* place) { return read(value, place, 0); }

nb::object python_of(const Json& json) {
  if (json.is_null()) return nb::none();
  if (json.is_boolean()) return nb::bool_(json.get<bool>());
  if (json.is_number_float()) return nb::float_(json.get<double>());
  if (json.is_number_unsigned()) return nb::int_(json.get<uint64_t>());
  if (json.is_number()) return nb::int_(json.get<int64_t>());
  if (json.is_string()) return nb::cast(json.get<std::string>());
  if (json.is_array()) {
    nb::list list;
    for (const Json& item : json) list.append(python_of(item));
    return list;
  }
  nb::dict dict;
  for (const auto& [key, item] : json.items()) dict[nb::cast(key)] = python_of(item);
  return dict;
}

}  // namespace hypenet
