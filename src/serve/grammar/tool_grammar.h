// Tool calls as grammars.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "serve/grammar/constraint.h"
#include "serve/grammar/ebnf.h"

namespace hypenet {

/// Adds the rules of calls; returns what stands for an answer of them (rule.required), or for what
/// follows a call's opening (else). Throws Error as add_schema does.
std::string add_tool_calls(std::span<const ToolGrammar> tools, const ToolCallForm& form,
                           ToolCallRule rule, EbnfRules& rules, std::vector<std::string>& ignored);

}  // namespace hypenet
