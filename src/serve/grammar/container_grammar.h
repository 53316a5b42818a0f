// Objects and arrays as grammars.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serve/grammar/ebnf.h"

namespace hypenet {

struct ObjectGrammar {
  struct Property {
    std::string key, value;  // value: an expression
    bool is_required = false;
  };
  std::vector<Property> properties;       // come in this order
  std::optional<std::string> additional;  // an expression; behind the properties, with other keys
  int64_t least = 0, most = -1;           // additional ones; most < 0: any number
};

/// Returns the expression.
std::string add_object(const ObjectGrammar& object, EbnfRules& rules);

struct ArrayGrammar {
  std::vector<std::string> first;   // the first items, each an expression
  std::optional<std::string> item;  // those behind; none: there are no others
  int64_t least = 0, most = -1;     // items; most < 0: any number, else at least first.size()
};

/// Returns the expression.
std::string add_array(const ArrayGrammar& array, EbnfRules& rules);

}  // namespace hypenet
