// Variables into values, and the output into pieces.
#include "text/jinja/template.h"

#include <algorithm>
#include <array>

#include "text/jinja/evaluator.h"
#include "text/jinja/tree.h"
#include "text/jinja/work.h"

namespace hypenet {
namespace {

using jinja::Origin;

constexpr std::array<std::string_view, 7> kRoles = {"assistant", "developer", "function", "ipython",
                                                    "system",    "tool",      "user"};

bool is_known_role(const Json& role) {
  return role.is_string() && std::ranges::count(kRoles, role.get_ref<const std::string&>()) > 0;
}

/// A given value; of messages the role counts as the template's.
jinja::Value given_value(const std::string& name, const Json& json) {
  if (name != "messages" || !json.is_array()) return jinja::from_json(json, Origin::kGiven);
  jinja::List messages;
  for (const Json& message : json) {
    const auto origin = static_cast<Origin>(messages.items.size());
    jinja::Dict dict;
    if (!message.is_object()) {
      messages.items.push_back(jinja::from_json(message, origin, 1));
      continue;
    }
    for (const auto& [key, item] : message.items()) {
      const bool is_own = key == "role" && is_known_role(item);
      dict.set(jinja::Value::own(key),
               jinja::from_json(item, is_own ? Origin::kTemplate : origin, 2));
    }
    messages.items.emplace_back(std::move(dict));
  }
  return jinja::Value(std::move(messages));
}

}  // namespace

JinjaTemplate JinjaTemplate::parse(std::string_view text, const std::string& place) {
  return JinjaTemplate(std::make_shared<const jinja::Tree>(jinja::parse_tree(text, place)));
}

std::vector<JinjaPiece> JinjaTemplate::render(const JinjaVariables& variables) const {
  jinja::Dict values;
  for (const auto& [name, json] : variables.own.items()) {
    values.set(jinja::Value::own(name), jinja::from_json(json, Origin::kTemplate));
  }
  for (const auto& [name, json] : variables.given.items()) {
    values.set(jinja::Value::own(name), given_value(name, json));
  }
  jinja::Work work(variables.limits, variables.now);
  const jinja::Text output = jinja::Evaluator(*tree_, work).run(values);
  std::vector<JinjaPiece> pieces;
  size_t begin = 0;
  for (const auto& [end, origin] : output.runs()) {
    pieces.push_back({output.bytes().substr(begin, end - begin), origin != Origin::kTemplate,
                      std::max<int64_t>(static_cast<int64_t>(origin), -1)});
    begin = end;
  }
  return pieces;
}

std::string join_pieces(const std::vector<JinjaPiece>& pieces) {
  std::string text;
  for (const JinjaPiece& piece : pieces) text += piece.text;
  return text;
}

}  // namespace hypenet
