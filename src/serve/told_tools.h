// Tools, their calls and results as the text of messages, for templates that read none.
#pragma once

#include "serve/api/chat_form.h"
#include "serve/text/tool_calls.h"
#include "text/chat_template.h"

namespace hypenet {

/// Whether a conversation has calls or results of tools.
bool has_calls(const ChatRequest& chat);

/// The conversation with each call as text of its assistant's turn, in this form, which is not
/// kNone, and each result of a tool in <tool_response> as a turn of the user, or as one of
/// "ipython" where form and template are Llama 3's; results in a row share a turn. Marks are moved
/// along; what ended at its message's end still does. Throws Error as JinjaTemplate::render does.
ChatRequest with_calls_as_text(const ChatRequest& chat, ToolFormat format,
                               const ChatTemplate& chat_template);

/// The conversation with its tools in the system message, in Qwen's words for kHermes.
ChatRequest with_tools_in_system(const ChatRequest& chat);

}  // namespace hypenet
