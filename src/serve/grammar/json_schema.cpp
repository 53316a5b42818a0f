// What is looked at before the schema is read: its size and depth.
#include "serve/grammar/json_schema.h"

#include <algorithm>

#include "base/error.h"
#include "serve/grammar/schema_reader.h"

namespace hypenet {

namespace {

/// Of nested arrays and objects; looks no deeper than `most`.
int64_t depth_of(const Json& json, int64_t most) {
  int64_t depth = 0;
  if (json.is_structured() && most > 0) {
    for (const Json& inner : json) depth = std::max(depth, depth_of(inner, most - 1));
  }
  return depth + (json.is_structured() ? 1 : 0);
}

}  // namespace

std::string add_schema(const Json& schema, bool strict, const std::string& place, EbnfRules& rules,
                       std::vector<std::string>& ignored) {
  HYPENET_CHECK(depth_of(schema, kMostSchemaDepth) <= kMostSchemaDepth, place,
                ": expected at most ", kMostSchemaDepth, " levels of JSON, found more");
  const auto bytes = static_cast<int64_t>(schema.dump().size());
  HYPENET_CHECK(bytes <= kMostSchemaBytes, place, ": expected at most ", kMostSchemaBytes,
                " bytes of JSON, found ", bytes);
  std::string value = SchemaReader(schema, strict, place, ignored).read_into(rules);
  HYPENET_CHECK(rules.size() <= kMostGrammarBytes, place, ": expected a grammar of at most ",
                kMostGrammarBytes, " bytes, found ", rules.size());
  return value;
}

}  // namespace hypenet
