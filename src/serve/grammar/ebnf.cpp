// What a parser of JSON would refuse or read as something else has no place here: numbers that
// overflow, half of a surrogate pair. Characters stand for themselves; \u is left to control
// characters, so that a key is written in one way only.
#include "serve/grammar/ebnf.h"

#include "base/error.h"

namespace hypenet {

namespace {

constexpr std::string_view kJsonRules = R"(
ws ::= "" | " " | "\n" [ \t]{0,40}
escape ::= [\"\\bfnrt] | "u00" [01] [0-9a-fA-F]
string_rest ::= "\"" | [^\0-\x1f\"\\] string_rest | "\\" escape string_rest
string ::= "\"" string_rest
other_key_rest ::= [^\0-\x1f\"\\]* "\""
integer ::= "0" | "-"? [1-9] [0-9]{0,17}
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [+\-]? [0-9]{1,2})?
value ::= object | array | string | number | "true" | "false" | "null"
array ::= "[" ws "]" | "[" ws value (ws "," ws value)* ws "]"
object ::= "{" ws "}" | "{" ws pair (ws "," ws pair)* ws "}"
pair ::= string ws ":" ws value
)";

}  // namespace

std::string EbnfRules::reserve() { return concat("r", names_++); }

void EbnfRules::define(std::string_view name, std::string_view body) {
  text_.append(name).append(" ::= ").append(body).append("\n");
}

std::string EbnfRules::add(std::string_view body) {
  std::string name = reserve();
  define(name, body);
  return name;
}

std::string EbnfRules::text(std::string_view root) const {
  return concat("root ::= ", root, "\n", text_, kJsonRules);
}

std::string ebnf_literal(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n') {
      quoted += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string ebnf_repeat(int64_t least, int64_t most) {
  return most < 0 ? concat("{", least, ",}") : concat("{", least, ",", most, "}");
}

}  // namespace hypenet
