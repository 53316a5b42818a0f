// Where xgrammar was not found when this was built: answers cannot be held to a grammar.
#include "serve/grammar/constraint.h"

namespace hypenet {

struct GrammarCompiler::Impl {};

namespace {

[[noreturn]] void refuse() {
  throw ConstraintError(ConstraintError::Code::kUnsupportedParameter,
                        "this server was built without xgrammar: answers cannot be held to a "
                        "grammar (response_format, required and strict tools)");
}

}  // namespace

GrammarCompiler::GrammarCompiler(const Tokenizer&, int64_t) {}
GrammarCompiler::~GrammarCompiler() = default;

bool GrammarCompiler::is_built_in() { return false; }
int64_t GrammarCompiler::compiled() const { return 0; }

GrammarPtr GrammarCompiler::compile_json_object() { refuse(); }

GrammarPtr GrammarCompiler::compile_schema(const Json&, bool, std::vector<std::string>&) {
  refuse();
}

GrammarPtr GrammarCompiler::compile_tool_calls(std::span<const ToolGrammar>, const ToolCallForm&,
                                               ToolCallRule, std::vector<std::string>&) {
  refuse();
}

std::unique_ptr<TokenMask> GrammarCompiler::mask(GrammarPtr, MaskOptions) const { refuse(); }

}  // namespace hypenet
