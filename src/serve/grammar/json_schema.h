// JSON schemas as grammars. What a grammar cannot hold exactly is refused or named, what it holds
// more narrowly is listed in docs/serving-constraints.md: every text of the grammar is valid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/grammar/ebnf.h"

namespace hypenet {

/// Bounds of what is read, so that no schema takes long to compile.
inline constexpr int64_t kMostSchemaBytes = 65'536, kMostSchemaDepth = 64, kMostSchemaNodes = 4'096,
                         kMostSchemaRefs = 256, kMostRepeats = 10'000, kMostProperties = 256,
                         kMostKeyBytes = 400, kMostPatterns = 64, kMostGrammarBytes = 262'144;

/// Adds the rules of a schema (of JSON Schema's drafts 7 to 2020-12 the part that
/// docs/serving-constraints.md lists) to `rules`; returns what stands for a value of it. `place`
/// names the schema in errors. Unsupported keywords are an error if `strict`, else left out and
/// added to `ignored` once each. Throws Error where the schema is malformed, beyond the bounds
/// above, or satisfied by no value.
std::string add_schema(const Json& schema, bool strict, const std::string& place, EbnfRules& rules,
                       std::vector<std::string>& ignored);

}  // namespace hypenet
