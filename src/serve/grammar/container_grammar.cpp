// Chains: the rule of place i says what may stand from there on, so each element is written once.
#include "serve/grammar/container_grammar.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/json.h"

namespace hypenet {

namespace {

constexpr std::string_view kComma = "ws \",\" ws ";

std::string pair_of(const std::string& key, const std::string& value) {
  return concat(key, " ws \":\" ws ", value);
}

/// Keys that others begin with; by whole characters.
struct KeyTree {
  std::map<std::string, KeyTree> next;
  bool ends = false;
};

KeyTree tree_of(const std::vector<ObjectGrammar::Property>& properties) {
  KeyTree tree;
  for (const ObjectGrammar::Property& property : properties) {
    KeyTree* node = &tree;
    const std::string& key = property.key;
    for (size_t begin = 0, end = 0; begin < key.size(); begin = end) {
      for (end = begin + 1; end < key.size() && (key[end] & 0xC0) == 0x80;) ++end;
      node = &node->next[key.substr(begin, end - begin)];
    }
    node->ends = true;
  }
  return tree;
}

bool needs_escape(const std::string& character) {
  return static_cast<unsigned char>(character[0]) < 0x20 || character == "\"" || character == "\\";
}

/// The rest of a key, with its closing quote, that is none of the tree's. It has no escapes, so
/// keys that need some differ from it.
std::string add_other_key(const KeyTree& tree, EbnfRules& rules) {
  std::string excluded, choices = tree.ends ? "" : "\"\\\"\" | ";
  for (const auto& [character, node] : tree.next) {
    if (needs_escape(character)) continue;
    constexpr std::string_view kClassSyntax = "^]-[";
    if (kClassSyntax.find(character) != kClassSyntax.npos) excluded += '\\';
    excluded += character;
    choices += concat(ebnf_literal(character), " ", add_other_key(node, rules), " | ");
  }
  return rules.add(concat(choices, "[^\\0-\\x1f\\\"\\\\", excluded, "] other_key_rest"));
}

}  // namespace

std::string add_object(const ObjectGrammar& object, EbnfRules& rules) {
  const std::vector<ObjectGrammar::Property>& properties = object.properties;
  const bool has_additional = object.additional && object.most != 0;
  std::string other, rest = "\"\"";
  if (has_additional) {
    const std::string key = properties.empty()
                                ? "string"
                                : concat("\"\\\"\" ", add_other_key(tree_of(properties), rules));
    other = rules.add(pair_of(key, *object.additional));
    rest = concat("(", kComma, other, ")", ebnf_repeat(object.least, object.most));
  }
  // `first`: what may stand where no pair came before; "": nothing may.
  std::string first;
  if (has_additional) {
    first = concat(other, " (", kComma, other, ")",
                   ebnf_repeat(std::max(object.least - 1, int64_t{0}),
                               object.most < 0 ? -1 : object.most - 1));
  }
  bool may_be_empty = !has_additional || object.least == 0;
  for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
    const std::string key = ebnf_literal(Json(property->key).dump());
    const std::string pair = rules.add(pair_of(key, property->value));
    const std::string behind = rules.add(rest);
    const bool is_required = property->is_required;
    first = concat(pair, " ", behind, is_required || first.empty() ? "" : " | " + first);
    rest = concat(kComma, pair, " ", behind, is_required ? "" : " | " + behind);
    may_be_empty = may_be_empty && !is_required;
  }
  if (first.empty()) return "\"{\" ws \"}\"";
  const std::string members = rules.add(first);
  return rules.add(
      concat("\"{\" ws ", members, " ws \"}\"", may_be_empty ? " | \"{\" ws \"}\"" : ""));
}

std::string add_array(const ArrayGrammar& array, EbnfRules& rules) {
  const auto size = static_cast<int64_t>(array.first.size());
  const bool has_item = array.item && array.most != size;
  const int64_t least = std::max(array.least - size, int64_t{0});
  const int64_t most = array.most < 0 ? -1 : array.most - size;
  std::string rest = "\"\"", first;
  if (has_item) {
    const std::string item = rules.add(*array.item);
    rest = concat("(", kComma, item, ")", ebnf_repeat(least, most));
    first = concat(item, " (", kComma, item, ")",
                   ebnf_repeat(std::max(least - 1, int64_t{0}), most < 0 ? -1 : most - 1));
  }
  for (int64_t i = size - 1; i >= 0; --i) {
    const std::string behind = rules.add(rest);
    const std::string& item = array.first[static_cast<size_t>(i)];
    first = concat("(", item, ") ", behind);
    rest = concat(kComma, "(", item, ") ", behind, i >= array.least ? " | \"\"" : "");
  }
  if (first.empty()) return "\"[\" ws \"]\"";
  const std::string items = rules.add(first);
  return rules.add(
      concat("\"[\" ws ", items, " ws \"]\"", array.least == 0 ? " | \"[\" ws \"]\"" : ""));
}

}  // namespace hypenet
