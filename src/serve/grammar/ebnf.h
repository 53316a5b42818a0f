// Grammars as text: rules `name ::= body` in the EBNF that xgrammar reads, and those of JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hypenet {

/// A grammar that grows rule by rule. Names of rules that JSON has, for bodies to use: ws (what may
/// stand between tokens: nothing, a space, or a line break and its indentation), string,
/// integer, number, value, array, object, other_key_rest (the rest of a
/// string without escapes).
class EbnfRules {
 public:
  /// A name that no rule has; it must be defined later.
  std::string reserve();
  void define(std::string_view name, std::string_view body);

  /// Defines a rule; returns its name.
  std::string add(std::string_view body);

  /// The grammar of what `root` describes.
  std::string text(std::string_view root) const;

  int64_t size() const { return static_cast<int64_t>(text_.size()); }

 private:
  std::string text_;
  int64_t names_ = 0;
};

/// Exactly this text (UTF-8).
std::string ebnf_literal(std::string_view text);

/// "{least,most}"; most < 0: without end.
std::string ebnf_repeat(int64_t least, int64_t most);

}  // namespace hypenet
