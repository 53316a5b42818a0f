// Which functions a model may call.
#include <unordered_set>

#include "serve/api/chat_messages.h"

namespace hypenet {
namespace {

const std::string& function_name(const Json& tool) {
  return tool["function"]["name"].get_ref<const std::string&>();
}

/// Checks one tool; the template gets it as it came, without what nobody knows.
Json read_tool(const Field& tool, const ParseContext& context) {
  read_object(tool);
  const Field type = required(tool, "type");
  if (read_string(type) != "function") {
    fail_unsupported(type, concat("tools of type \"", type.value.get<std::string>(), "\" are"));
  }
  const Field function = required(tool, "function");
  read_object(function);
  Json kept = {{"name", read_name(required(function, "name"))}};
  if (const auto text = function.find("description")) kept["description"] = read_string(*text);
  if (const auto schema = function.find("parameters")) kept["parameters"] = read_object(*schema);
  if (const auto strict = function.find("strict")) kept["strict"] = read_boolean(*strict);
  context.ignored.add_others(tool, {"type", "function", "cache_control"});
  context.ignored.add_others(function, {"name", "description", "parameters", "strict"});
  return {{"type", "function"}, {"function", std::move(kept)}};
}

bool has_tool(const ChatRequest& request, const std::string& name) {
  return std::ranges::any_of(request.tools,
                             [&](const Json& tool) { return function_name(tool) == name; });
}

}  // namespace

void read_tools(const Field& field, ChatRequest& request, const ParseContext& context) {
  const size_t count = read_array(field, {0, kMostTools}).size();
  Json tools = Json::array();
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    const Field item = field.item(i);
    Json tool = read_tool(item, context);
    if (!names.insert(function_name(tool)).second) {
      fail_value(required(required(item, "function"), "name"), "a name of its own");
    }
    tools.push_back(std::move(tool));
  }
  if (!tools.empty()) request.tools = std::move(tools);
}

void read_tool_choice(const Field& field, ChatRequest& request, const ParseContext& context) {
  using Kind = ToolChoice::Kind;
  constexpr std::string_view kWords[] = {"none", "auto", "required"};
  if (field.value.is_string()) {
    request.tool_choice = {.kind = static_cast<Kind>(read_choice(field, kWords))};
    return;
  }
  if (!field.value.is_object()) fail_type(field, "a string or an object");
  const Field type = required(field, "type");
  if (read_string(type) != "function") {
    fail_unsupported(type, concat("choices of type \"", type.value.get<std::string>(), "\" are"));
  }
  const Field function = required(field, "function");
  read_object(function);
  request.tool_choice = {Kind::kNamed, read_name(required(function, "name"))};
  context.ignored.add_others(field, {"type", "function"});
}

void check_tool_choice(ChatRequest& request, bool is_given, const std::string& path) {
  using Kind = ToolChoice::Kind;
  ToolChoice& choice = request.tool_choice;
  const bool has_tools = !request.tools.is_null();
  if (!is_given) choice.kind = has_tools ? Kind::kAuto : Kind::kNone;
  if (!has_tools && (choice.kind == Kind::kRequired || choice.kind == Kind::kNamed)) {
    throw ApiError("invalid_value", concat(path, ": expected tools to choose from, found none"),
                   path);
  }
  if (!has_tools) choice.kind = Kind::kNone;
  if (choice.kind == Kind::kNamed && !has_tool(request, choice.name)) {
    throw ApiError(
        "invalid_value",
        concat(path, ": expected the name of one of the tools, found \"", choice.name, '"'), path);
  }
}

}  // namespace hypenet
