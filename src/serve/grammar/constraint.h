// Answers held to a grammar: any JSON object, a JSON schema, calls of tools
// (docs/serving-constraints.md). Where the library behind it was not built in, constraint_none.cpp
// refuses.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "engine/token_mask.h"
#include "text/tokenizer.h"

namespace hypenet {

/// A grammar that cannot be had; the request is answered with 400 and this code.
class ConstraintError : public Error {
 public:
  enum class Code { kInvalidSchema, kUnsupportedParameter };
  ConstraintError(Code code, const std::string& text) : Error(text), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

/// How a model writes a call: opening, {"name": NAME, arguments_key: ARGUMENTS}, closing. Without
/// an arguments_key tags stand for the object: <function=NAME><parameter=KEY>VALUE</parameter>...
struct ToolCallForm {
  std::string opening, closing;  // both or none; without, the answer is calls alone or text alone
  std::string arguments_key;
  std::string separator;  // of calls
  std::string tag;        // a token that may stand before calls which have no opening

  /// Of serve/text/tool_calls.h: kHermes, kLlama3Json and kQwen3Coder.
  static ToolCallForm hermes();
  static ToolCallForm llama3_json();
  static ToolCallForm qwen3_coder();
};

/// A function that may be called. `parameters` is the schema of its arguments.
struct ToolGrammar {
  std::string name;
  Json parameters = Json::object();
  bool strict = false;  // unsupported keywords are an error
};

/// Which calls an answer may have.
struct ToolCallRule {
  /// The answer is calls alone, one at least. Else it is free, and held from a call's opening (or
  /// from its first words, {"name", where calls have no opening) to its end.
  bool required = false;
  bool repeats = true;  // more than one call
};

/// What stands around the constrained part of one answer.
struct MaskOptions {
  enum class Reasoning { kNone, kMayOpen, kIsOpen };
  std::vector<int32_t> stop_ids;  // may come where the grammar may end, and only there
  /// kIsOpen: the prompt ended inside a thought. kMayOpen: the answer may begin with `opening`.
  /// Thoughts are free; the grammar begins behind `closing` and a line break or two.
  Reasoning reasoning = Reasoning::kNone;
  std::string opening = "<think>", closing = "</think>";
};

/// A compiled grammar. Immutable, so any number of answers share it.
struct Grammar;
using GrammarPtr = std::shared_ptr<const Grammar>;

/// Compiles grammars for one vocabulary. Every method may be called from any thread. The same
/// question is compiled once: the last 64 grammars are kept.
class GrammarCompiler {
 public:
  static constexpr int64_t kKeptGrammars = 64;

  /// vocab_size: the columns of the logits, at least those of the tokenizer. 0.1 s for Qwen3's.
  /// Keeps a reference to the tokenizer.
  explicit GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab_size);
  ~GrammarCompiler();

  /// Whether the library is built in. If not, the other methods throw kUnsupportedParameter.
  static bool is_built_in();

  /// Grammars that were compiled, kept ones not counted again.
  int64_t compiled() const;

  GrammarPtr compile_json_object();

  /// A value of the schema, which json_schema.h reads. Throws ConstraintError.
  GrammarPtr compile_schema(const Json& schema, bool strict, std::vector<std::string>& ignored);

  /// Calls of these tools. Throws ConstraintError.
  GrammarPtr compile_tool_calls(std::span<const ToolGrammar> tools, const ToolCallForm& form,
                                ToolCallRule rule, std::vector<std::string>& ignored);

  /// The mask of one answer, from its first token on.
  std::unique_ptr<TokenMask> mask(GrammarPtr grammar, MaskOptions options) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hypenet
