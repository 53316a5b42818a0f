// Calls written as tags, as grammars (serve/text/xml_call.h reads them).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "serve/grammar/ebnf.h"

namespace hypenet {

/// The schema of a function's arguments, an object.
struct ArgumentsSchema {
  const Json& schema;
  bool strict = false;
  const std::string& place;  // in errors
};

/// Adds the rules of <function=NAME>, its parameters, </function>; returns what stands for it.
/// Parameters come in the schema's order. One that may be a string holds any text without
/// </parameter> (so its other keywords are unsupported), or one of its enum; others hold JSON as
/// add_schema has it. Others than those listed may come only where none is. Throws Error as
/// add_schema does for the whole schema, and where a name or a choice cannot be written so.
std::string add_tagged_call(const std::string& name, const ArgumentsSchema& arguments,
                            EbnfRules& rules, std::vector<std::string>& ignored);

}  // namespace hypenet
