// Templates of tests/data/chat.
#pragma once

#include <filesystem>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "text/chat_template.h"

namespace hypenet {

inline const Json& chat_fixtures() {
  static const Json kFixtures =
      read_json(std::filesystem::path(HYPENET_TEST_DATA) / "chat" / "cases.json");
  return kFixtures;
}

/// A template by its name, with its tokens.
inline ChatTemplate fixture_template(const std::string& name) {
  for (const Json& fixture : chat_fixtures()["templates"]) {
    if (fixture["name"] == name) {
      return ChatTemplate::parse(fixture["template"].get<std::string>(), fixture["tokens"], name);
    }
  }
  throw Error("no template " + name);
}

/// Prints tools and their calls in the form of Llama 3.1 (in words of its own).
inline constexpr const char* kLlamaTools = R"({{- bos_token }}
{%- for message in messages %}
  {%- if message.tool_calls is defined and message.tool_calls %}
    {%- if message.tool_calls | length != 1 %}{{ raise_exception("One call at a time") }}{% endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
    {{- '{"name": "' + call.name + '", "parameters": ' }}{{ call.arguments | tojson }}{{ '}<|eot_id|>' }}
  {%- elif message.role == 'tool' %}
    {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + (message.content | tojson) + '<|eot_id|>' }}
  {%- else %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
    {%- if tools and loop.first %}
      {{- 'Answer with a call: {"name": ..., "parameters": ...}.\n\n' }}
      {%- for tool in tools %}{{ tool | tojson(indent=4) }}{{ '\n\n' }}{% endfor %}
    {%- endif %}
    {{- message.content | trim + '<|eot_id|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

}  // namespace hypenet
