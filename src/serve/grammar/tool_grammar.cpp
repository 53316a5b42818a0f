// The forms of calls, and their grammars.
#include "serve/grammar/tool_grammar.h"

#include "base/error.h"
#include "serve/grammar/container_grammar.h"
#include "serve/grammar/json_schema.h"
#include "serve/grammar/tagged_call_grammar.h"

namespace hypenet {

namespace {

constexpr size_t kMostTools = 128;

/// Arguments are an object even where the schema does not say so.
Json arguments_schema(const ToolGrammar& tool, const std::string& place) {
  HYPENET_CHECK(tool.parameters.is_object(), place, ": expected a schema (an object), found ",
                json_kind(tool.parameters));
  Json schema = tool.parameters;
  const bool says_type = schema.contains("type") || schema.contains("$ref");
  if (!says_type) schema["type"] = "object";
  return schema;
}

std::string add_object_call(const std::string& name, const std::string& arguments_key,
                            const std::string& arguments, EbnfRules& rules) {
  ObjectGrammar object;
  object.properties = {{"name", ebnf_literal(Json(name).dump()), true},
                       {arguments_key, arguments, true}};
  return add_object(object, rules);
}

}  // namespace

ToolCallForm ToolCallForm::hermes() {
  return {"<tool_call>", "</tool_call>", "arguments", "\n", ""};
}

ToolCallForm ToolCallForm::llama3_json() { return {"", "", "parameters", "; ", "<|python_tag|>"}; }

ToolCallForm ToolCallForm::qwen3_coder() { return {"<tool_call>", "</tool_call>", "", "\n", ""}; }

std::string add_tool_calls(std::span<const ToolGrammar> tools, const ToolCallForm& form,
                           ToolCallRule rule, EbnfRules& rules, std::vector<std::string>& ignored) {
  HYPENET_CHECK(!tools.empty() && tools.size() <= kMostTools, "tools: expected 1 to ", kMostTools,
                " functions, found ", tools.size());
  std::string objects;
  for (const ToolGrammar& tool : tools) {
    const std::string place = concat("tools: ", tool.name, ".parameters");
    const Json schema = arguments_schema(tool, place);
    const std::string call =
        form.arguments_key.empty()
            ? add_tagged_call(tool.name, {schema, tool.strict, place}, rules, ignored)
            : add_object_call(tool.name, form.arguments_key,
                              add_schema(schema, tool.strict, place, rules, ignored), rules);
    objects += (objects.empty() ? "" : " | ") + call;
  }
  const std::string object = rules.add(objects);
  const bool has_marks = !form.opening.empty();
  const std::string inside =
      has_marks ? concat("ws ", object, " ws ", ebnf_literal(form.closing)) : object;
  if (has_marks && !rule.required) return inside;
  const std::string call =
      rules.add(has_marks ? concat(ebnf_literal(form.opening), " ", inside) : inside);
  if (!rule.repeats) return call;
  return concat(call, " (", ebnf_literal(form.separator), " ", call, ")*");
}

}  // namespace hypenet
