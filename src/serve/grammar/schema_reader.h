// How json_schema.h reads: keyword by keyword, in passes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "serve/grammar/container_grammar.h"
#include "serve/grammar/ebnf.h"

namespace hypenet {

/// A schema becomes rules in passes. Each takes for granted which references have a value, the
/// first that none has; the last is the one that finds no more. So a type that contains itself for
/// ever has no value, and what would need one is left out or refused: a grammar in which an answer
/// could not end never comes about.
class SchemaReader {
 public:
  /// Keeps the references.
  SchemaReader(const Json& root, bool strict, std::string place, std::vector<std::string>& ignored);

  /// Adds the rules; returns what stands for a value. As add_schema of json_schema.h.
  std::string read_into(EbnfRules& rules);

  using Expression = std::optional<std::string>;  // EBNF; nullopt: no value satisfies the schema

  /// The same of a schema within the root, which stands at `path` in it: its references are to the
  /// root's. Adds no rules where no value satisfies it.
  Expression read_part_into(const Json& part, std::string_view path, EbnfRules& rules);

 private:
  struct Place {
    std::string path;
    int64_t depth = 0;
    Place inside(std::string_view part) const;
  };
  struct Reference {
    const Json* schema = nullptr;
    std::string rule = {};
    bool has_value = false;
  };

  // schema_reader.cpp
  Expression read_passes(const Json& schema, const Place& place, EbnfRules& rules);
  Expression pass(const Json& schema, const Place& place, EbnfRules& rules, bool& found);
  Expression read(const Json& schema, const Place& place);
  Expression read_reference(const Json& uri, const Place& place);
  Expression read_values(const Json& schema, const Place& place);
  Expression read_combination(const Json& schema, const Place& place);
  Expression read_option(const Json& option, const Json& schema, const Place& place);
  void check_keywords(const Json& schema, const Place& place);
  void unsupported(std::string_view keyword, const Place& place);
  const Json& target(const Json& uri, const Place& place) const;
  const Json& followed(const Json& schema, const Place& place) const;
  bool are_disjoint(const Json& options, const Place& place) const;
  /// No value, and why, for the error if nothing else has one.
  Expression none(const Place& place, std::string_view why);

  // schema_types.cpp
  Expression read_types(const Json& schema, const Place& place);
  Expression read_type(std::string_view type, const Json& schema, const Place& place);
  Expression read_object(const Json& schema, const Place& place);
  bool set_counts(const Json& schema, ObjectGrammar& object, const Place& place);
  Expression read_array(const Json& schema, const Place& place);
  Expression read_string(const Json& schema, const Place& place);
  Expression read_integer(const Json& schema, const Place& place);
  Expression read_number(const Json& schema, const Place& place);
  int64_t least(const Json& schema, const char* key, const Place& place) const;
  int64_t most(const Json& schema, const char* key, const Place& place);

  const Json& root_;
  const bool strict_;
  const Place place_;
  std::vector<std::string>& ignored_;
  std::map<std::string, Reference> references_;
  // Of a pass:
  EbnfRules* rules_ = nullptr;
  std::vector<std::string> order_;  // of references, as they were met
  int64_t nodes_ = 0, key_bytes_ = 0, patterns_ = 0;
  std::string contradiction_;  // the last that was found
};

/// The type whose values a keyword is about; empty: of all, or unknown.
std::string_view type_of_keyword(std::string_view name);

bool is_of_type(const Json& value, std::string_view type);

}  // namespace hypenet
