// Anthropic's blocks as messages that templates read.
#pragma once

#include "serve/api/chat_form.h"

namespace hypenet {

/// Appends the system message, a text or blocks; none where all blocks are left out. To be called
/// before the messages.
void read_anthropic_system(const Field& field, ChatRequest& request, const ParseContext& context);

/// Appends the messages. Each tool_result becomes a message of role tool, thinking becomes
/// reasoning_content, tool_use tool_calls.
void read_anthropic_messages(const Field& field, ChatRequest& request, const ParseContext& context);

}  // namespace hypenet
