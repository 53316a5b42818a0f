// Parameters whose values are written as bare text: which types their schemas allow, and the value
// as JSON.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// The schema, and those that say more of the same value: what its references within `root` name
/// and what it combines (anyOf, oneOf, allOf), each once.
std::vector<const Json*> schemas_of_value(const Json& schema, const Json& root);

/// The types (JSON Schema's names) that a schema lets a value have, through references within
/// `root` and combinations; empty: it does not say.
std::set<std::string> schema_types(const Json& schema, const Json& root);

/// Those of a function's parameter; empty where no tool or no property has that name. `tools`: an
/// array in OpenAI's form.
std::set<std::string> parameter_types(const Json& tools, std::string_view function,
                                      const std::string& parameter);

/// Whether a value of these types is a text whatever it looks like.
bool is_text_alone(const std::set<std::string>& types);

/// A value as JSON: its text as it stands where that is JSON of one of the types (True, False and
/// None, as templates write them, are JSON's words), else the text as a string.
std::string parameter_json(const std::set<std::string>& types, std::string_view text);

/// Bytes as they stand inside a JSON string.
std::string json_escaped(std::string_view bytes);

}  // namespace hypenet
