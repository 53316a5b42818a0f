// References may go round, so each schema is looked at once.
#include "serve/grammar/parameter_types.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_text.h"
#include "serve/grammar/schema_reader.h"

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 7> kTypes = {"string", "integer", "number", "boolean",
                                                    "object", "array",   "null"};

/// What a reference within `root` names; nullptr: nothing.
const Json* referred(const Json& uri, const Json& root) {
  if (!uri.is_string()) return nullptr;
  const auto name = uri.get<std::string>();
  if (!name.starts_with('#')) return nullptr;
  try {
    return &root.at(Json::json_pointer(name.substr(1)));
  } catch (const Json::exception&) {
    return nullptr;
  }
}

void add_names(const Json& names, std::set<std::string>& types) {
  for (const Json& name : names.is_array() ? names : Json::array({names})) {
    if (name.is_string()) types.insert(name.get<std::string>());
  }
}

void add_type_of(const Json& value, std::set<std::string>& types) {
  const auto* const type =
      std::ranges::find_if(kTypes, [&](std::string_view name) { return is_of_type(value, name); });
  if (type != kTypes.end()) types.emplace(*type);
}

/// What a schema says itself.
void add_own_types(const Json& schema, std::set<std::string>& types) {
  if (schema.contains("type")) return add_names(schema["type"], types);
  if (schema.contains("const")) add_type_of(schema["const"], types);
  if (schema.contains("enum")) {
    for (const Json& value : schema["enum"]) add_type_of(value, types);
  }
  for (const auto& [key, value] : schema.items()) {
    const std::string_view type = type_of_keyword(key);
    if (!type.empty()) types.emplace(type);
  }
}

const Json* member(const Json* object, const std::string& key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

}  // namespace

std::vector<const Json*> schemas_of_value(const Json& schema, const Json& root) {
  std::vector<const Json*> reached = {&schema};
  std::set<const Json*> seen = {&schema};
  const auto add = [&](const Json* more) {
    if (more != nullptr && seen.insert(more).second) reached.push_back(more);
  };
  for (size_t i = 0; i < reached.size(); ++i) {
    const Json* const at = reached[i];
    if (const Json* const uri = member(at, "$ref")) add(referred(*uri, root));
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      const Json* const options = member(at, key);
      if (options == nullptr || !options->is_array()) continue;
      for (const Json& option : *options) add(&option);
    }
  }
  return reached;
}

std::set<std::string> schema_types(const Json& schema, const Json& root) {
  std::set<std::string> types;
  for (const Json* const part : schemas_of_value(schema, root)) {
    if (part->is_object()) add_own_types(*part, types);
  }
  return types;
}

std::set<std::string> parameter_types(const Json& tools, std::string_view function,
                                      const std::string& parameter) {
  for (const Json& tool : tools) {
    const Json* const called = member(&tool, "function");
    const Json* const name = member(called, "name");
    if (name == nullptr || *name != function) continue;
    const Json* const schema = member(called, "parameters");
    const Json* const property = member(member(schema, "properties"), parameter);
    return property == nullptr ? std::set<std::string>() : schema_types(*property, *schema);
  }
  return {};
}

bool is_text_alone(const std::set<std::string>& types) {
  return types.empty() || (types.size() == 1 && *types.begin() == "string");
}

std::string parameter_json(const std::set<std::string>& types, std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kPython = {
      {{"True", "true"}, {"False", "false"}, {"None", "null"}}};
  constexpr std::string_view kWhite = " \n\t\r";
  const size_t begin = std::min(text.find_first_not_of(kWhite), text.size());
  std::string_view word = text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
  for (const auto& [python, json] : kPython) {
    if (word == python) word = json;
  }
  const auto value = is_text_alone(types) ? std::nullopt : try_parse_json(word);
  const auto fits = [&](const std::string& type) { return is_of_type(*value, type); };
  if (value && std::ranges::any_of(types, fits)) return std::string(word);
  return concat('"', json_escaped(text), '"');
}

std::string json_escaped(std::string_view bytes) {
  constexpr std::array<std::pair<char, std::string_view>, 7> kShort = {{{'"', "\\\""},
                                                                        {'\\', "\\\\"},
                                                                        {'\b', "\\b"},
                                                                        {'\f', "\\f"},
                                                                        {'\n', "\\n"},
                                                                        {'\r', "\\r"},
                                                                        {'\t', "\\t"}}};
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string escaped;
  for (const char byte : bytes) {
    const auto* const known = std::ranges::find(kShort, byte, &decltype(kShort)::value_type::first);
    const auto code = static_cast<unsigned char>(byte);
    if (known != kShort.end()) {
      escaped += known->second;
    } else if (code < 0x20) {
      escaped.append("\\u00").append({kDigits[code / 16], kDigits[code % 16]});
    } else {
      escaped += byte;
    }
  }
  return escaped;
}

}  // namespace hypenet
