// The messages and tools of a chat request, checked and in the form that templates read.
#pragma once

#include "serve/api/chat_form.h"

namespace hypenet {

/// Most messages of a conversation, and most marks in it.
constexpr int64_t kMostMessages = 16384, kMostMarks = 16, kMostTools = 128;

/// Appends the checked messages and their marks to the request.
void read_messages(const Field& field, ChatRequest& request, const ParseContext& context);

/// Sets `tools` (null where the array is empty).
void read_tools(const Field& field, ChatRequest& request, const ParseContext& context);

/// Sets `tool_choice`; whether it names one of the tools, check_tool_choice asks.
void read_tool_choice(const Field& field, ChatRequest& request, const ParseContext& context);

/// What only shows when all fields are read; without a choice in the body it becomes auto, where
/// there are tools. `path` is that of the choice. Throws ApiError.
void check_tool_choice(ChatRequest& request, bool is_given, const std::string& path);

/// Throws ApiError naming `path` where a conversation that is to be gone on with does not end in a
/// message of the assistant without tool calls.
void check_final_message(const ChatRequest& request, const std::string& path);

/// Whether an object carries {"cache_control":{"type":"ephemeral"}}. Throws ApiError for another.
bool has_cache_mark(const Field& object);

/// Appends a mark. Throws ApiError over kMostMarks.
void add_mark(ChatRequest& request, CacheMark mark);

/// The text of a call's arguments as templates read it: an object where it is one or empty, else
/// the text.
Json call_arguments(const std::string& text);

}  // namespace hypenet
