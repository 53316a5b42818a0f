// Whether a value satisfies a JSON schema: the keywords that grammars know, as plainly as can be,
// beside the code that is tested.
#pragma once

#include <cmath>
#include <regex>
#include <string>

#include "base/json.h"

namespace hypenet {

class SchemaValidator {
 public:
  explicit SchemaValidator(Json root) : root_(std::move(root)) {}

  bool accepts(const Json& value) const { return accepts(root_, value); }

 private:
  bool accepts(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (schema.contains("$ref")) {
      const auto uri = schema["$ref"].get<std::string>();
      return accepts(root_.at(Json::json_pointer(uri.substr(1))), value);
    }
    return fits_type(schema, value) && fits_values(schema, value) && fits_parts(schema, value) &&
           fits_number(schema, value) && fits_string(schema, value) && fits_array(schema, value) &&
           fits_object(schema, value);
  }

  static bool is(const std::string& type, const Json& value) {
    if (type == "integer") {
      return value.is_number() && value.get<double>() == std::floor(value.get<double>());
    }
    return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
           (type == "string" && value.is_string()) || (type == "number" && value.is_number()) ||
           (type == "boolean" && value.is_boolean()) || (type == "null" && value.is_null());
  }

  static bool fits_type(const Json& schema, const Json& value) {
    if (!schema.contains("type")) return true;
    if (schema["type"].is_string()) return is(schema["type"], value);
    for (const Json& type : schema["type"]) {
      if (is(type, value)) return true;
    }
    return false;
  }

  static bool fits_values(const Json& schema, const Json& value) {
    if (schema.contains("const") && schema["const"] != value) return false;
    if (!schema.contains("enum")) return true;
    for (const Json& allowed : schema["enum"]) {
      if (allowed == value) return true;
    }
    return false;
  }

  bool fits_parts(const Json& schema, const Json& value) const {
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      if (!schema.contains(key)) continue;
      size_t fitting = 0;
      for (const Json& part : schema[key]) fitting += accepts(part, value);
      const std::string name = key;
      if (fitting == 0 || (name == "oneOf" && fitting > 1)) return false;
      if (name == "allOf" && fitting < schema[key].size()) return false;
    }
    return true;
  }

  static bool fits_number(const Json& schema, const Json& value) {
    if (!value.is_number()) return true;
    const double number = value.get<double>();
    const auto has = [&](const char* key) { return schema.contains(key); };
    return !(has("minimum") && number < schema["minimum"].get<double>()) &&
           !(has("maximum") && number > schema["maximum"].get<double>()) &&
           !(has("exclusiveMinimum") && number <= schema["exclusiveMinimum"].get<double>()) &&
           !(has("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>()) &&
           !(has("multipleOf") && std::fmod(number, schema["multipleOf"].get<double>()) != 0);
  }

  static bool fits_string(const Json& schema, const Json& value) {
    if (!value.is_string()) return true;
    const auto text = value.get<std::string>();
    int64_t characters = 0;
    for (const char byte : text) characters += (byte & 0xC0) != 0x80;
    if (schema.contains("minLength") && characters < schema["minLength"]) return false;
    if (schema.contains("maxLength") && characters > schema["maxLength"]) return false;
    return !schema.contains("pattern") ||
           std::regex_search(text, std::regex(schema["pattern"].get<std::string>()));
  }

  bool fits_array(const Json& schema, const Json& value) const {
    if (!value.is_array()) return true;
    if (schema.contains("minItems") && value.size() < schema["minItems"]) return false;
    if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return false;
    const size_t first = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < value.size(); ++i) {
      if (i < first ? !accepts(schema["prefixItems"][i], value[i])
                    : schema.contains("items") && !accepts(schema["items"], value[i])) {
        return false;
      }
    }
    return true;
  }

  bool fits_object(const Json& schema, const Json& value) const {
    if (!value.is_object()) return true;
    if (schema.contains("minProperties") && value.size() < schema["minProperties"]) return false;
    if (schema.contains("maxProperties") && value.size() > schema["maxProperties"]) return false;
    for (const Json& key : schema.value("required", Json::array())) {
      if (!value.contains(key.get<std::string>())) return false;
    }
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [key, inner] : value.items()) {
      if (properties.contains(key) ? !accepts(properties[key], inner)
                                   : schema.contains("additionalProperties") &&
                                         !accepts(schema["additionalProperties"], inner)) {
        return false;
      }
    }
    return true;
  }

  Json root_;
};

}  // namespace hypenet
