// A text ends at the first </parameter>: a rule for each byte of it that has come.
#include "serve/grammar/tagged_call_grammar.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/parameter_types.h"
#include "serve/grammar/schema_reader.h"

namespace hypenet {
namespace {

constexpr std::string_view kEndsValue = "</parameter>";

/// Any text, with the tag that ends it.
std::string add_bare_text(EbnfRules& rules) {
  std::vector<std::string> states;  // [i]: i bytes of the tag have come
  for (size_t i = 0; i < kEndsValue.size(); ++i) states.push_back(rules.reserve());
  const std::string& text = states.front();
  for (size_t i = 0; i < kEndsValue.size(); ++i) {
    const char next = kEndsValue[i];
    const bool is_last = i + 1 == kEndsValue.size();
    const std::string goes_on =
        concat(ebnf_literal({&next, 1}), " ", is_last ? "\"\"" : states[i + 1]);
    // The tag's first byte stands nowhere else in it, so nothing else of it can have come.
    const std::string begins_anew = i == 0 ? "" : concat(" | \"<\" ", states[1]);
    const std::string excluded = i == 0 ? "<" : std::string("<") + next;
    rules.define(states[i], concat(goes_on, begins_anew, " | [^\\0", excluded, "] ", text));
  }
  return text;
}

class TaggedCall {
 public:
  TaggedCall(const ArgumentsSchema& arguments, EbnfRules& rules, std::vector<std::string>& ignored)
      : arguments_(arguments),
        rules_(rules),
        ignored_(ignored),
        reader_(arguments.schema, arguments.strict, arguments.place, ignored) {}

  std::string add(const std::string& name) {
    const Json& schema = arguments_.schema;
    check_as_json();
    const Json properties = schema.value("properties", Json::object());
    const Json required = schema.value("required", Json::array());
    HYPENET_CHECK(properties.is_object() && required.is_array(), arguments_.place,
                  ": expected properties (an object) and required (an array), found others");
    HYPENET_CHECK(std::ssize(properties) + std::ssize(required) <= kMostProperties,
                  arguments_.place, ".properties: expected at most ", kMostProperties,
                  " with those required, found more");
    std::string body = ebnf_literal(concat("<function=", name, ">\n"));
    if (properties.empty() && required.empty()) body += concat(" ", any_parameter(), "*");
    for (const auto& [key, property] : properties.items()) {
      const bool is_required = std::find(required.begin(), required.end(), key) != required.end();
      const auto its_value = value(key, property);
      HYPENET_CHECK(its_value || !is_required, arguments_.place, ".properties.", key,
                    ": expected a schema that some value satisfies, found none");
      if (its_value) body += concat(" ", parameter(key, *its_value), is_required ? "" : "?");
    }
    std::set<std::string> unlisted;
    for (const Json& key : required) {
      HYPENET_CHECK(key.is_string(), arguments_.place, ".required: expected strings, found ",
                    json_kind(key));
      const auto name_of_it = key.get<std::string>();
      if (properties.contains(name_of_it) || !unlisted.insert(name_of_it).second) continue;
      body += concat(" ", parameter(name_of_it, bare_text()));
    }
    return rules_.add(concat(body, " ", ebnf_literal("</function>")));
  }

 private:
  /// What other forms refuse is refused here as well, though less of it is read.
  void check_as_json() {
    EbnfRules unused;
    add_schema(arguments_.schema, arguments_.strict, arguments_.place, unused, ignored_);
  }

  const std::string& bare_text() {
    if (bare_text_.empty()) bare_text_ = add_bare_text(rules_);
    return bare_text_;
  }

  std::string any_parameter() {
    return rules_.add(concat("\"<parameter=\" [^\\0-\\x1f<>]+ \">\\n\" ", bare_text(), " \"\\n\""));
  }

  std::string parameter(const std::string& key, const std::string& value) {
    HYPENET_CHECK(!key.empty() && key.find_first_of("<>\n") == key.npos, arguments_.place,
                  ".properties: expected names without <, > and line breaks, found \"", key, '"');
    const std::string opens = ebnf_literal(concat("<parameter=", key, ">\n"));
    return rules_.add(concat(opens, " ", value, " \"\\n\""));
  }

  /// A value with the tag that ends it; nullopt: the schema has none.
  std::optional<std::string> value(const std::string& key, const Json& property) {
    const std::string path = concat("properties.", key);
    const std::string place = concat(arguments_.place, ".", path);
    const std::set<std::string> types = schema_types(property, arguments_.schema);
    const std::string ends = ebnf_literal(concat("\n", kEndsValue));
    const bool is_json = !types.empty() && !types.contains("string");
    EbnfRules unused;
    const auto json = reader_.read_part_into(property, path, is_json ? rules_ : unused);
    HYPENET_CHECK(rules_.size() <= kMostGrammarBytes, arguments_.place,
                  ": expected a grammar of at most ", kMostGrammarBytes, " bytes, found ",
                  rules_.size());
    if (!json) return std::nullopt;
    if (is_json) return concat(*json, " ", ends);
    const Json choices = choices_of(property, is_text_alone(types), place);
    std::string literals;
    for (const Json& choice : choices) {
      if (!choice.is_string()) continue;
      const auto text = choice.get<std::string>();
      HYPENET_CHECK(text.find(kEndsValue) == text.npos, place, ": expected choices without ",
                    kEndsValue, ", which ends a value, found ", choice.dump());
      literals += concat(literals.empty() ? "" : " | ", ebnf_literal(text));
    }
    return literals.empty() ? bare_text() : concat("(", literals, ") ", ends);
  }

  /// The texts that a value may be; none: any text. What neither keeps to is unsupported.
  Json choices_of(const Json& property, bool is_text, const std::string& place) {
    Json choices = Json::array();
    bool is_combined = false;
    const auto parts = schemas_of_value(property, arguments_.schema);
    for (const Json* const part : parts) {
      for (const char* key : {"anyOf", "oneOf", "allOf"}) is_combined |= part->contains(key);
    }
    for (const Json* const part : parts) {
      if (!part->is_object()) continue;
      for (const auto& [key, said] : part->items()) {
        const bool is_choice = key == "enum" || key == "const";
        if (is_choice && is_text && !is_combined) {
          choices = said.is_array() ? said : Json::array({said});
        } else if (is_choice || !type_of_keyword(key).empty()) {
          unsupported(key, place);
        }
      }
    }
    return choices;
  }

  void unsupported(const std::string& keyword, const std::string& place) {
    HYPENET_CHECK(!arguments_.strict, place, ": the keyword '", keyword,
                  "' is not supported here, and the schema is strict");
    if (std::find(ignored_.begin(), ignored_.end(), keyword) == ignored_.end())
      ignored_.push_back(keyword);
  }

  const ArgumentsSchema& arguments_;
  EbnfRules& rules_;
  std::vector<std::string>& ignored_;
  SchemaReader reader_;
  std::string bare_text_;
};

}  // namespace

std::string add_tagged_call(const std::string& name, const ArgumentsSchema& arguments,
                            EbnfRules& rules, std::vector<std::string>& ignored) {
  return TaggedCall(arguments, rules, ignored).add(name);
}

}  // namespace hypenet
