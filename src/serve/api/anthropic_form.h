// The request of /v1/messages, translated to a chat request: the answer alone is told otherwise.
#pragma once

#include "serve/api/chat_form.h"

namespace hypenet {

/// Reads a body of /v1/messages; of /v1/messages/count_tokens without `needs_max_tokens`. Results
/// of tools become messages of their own, thoughts reasoning_content, and a last message of the
/// assistant is gone on with. Throws ApiError; its param is a path of this body.
ChatRequest parse_anthropic_request(const Json& body, const ServedModel& model,
                                    bool needs_max_tokens = true);

/// The rows of the page.
const Parameters<ChatRequest>& anthropic_parameters();

}  // namespace hypenet
