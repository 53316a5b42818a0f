// The statements of a Jinja template, spelt in one way. Nothing is evaluated: chat_template.cpp
// looks in them for what it knows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// A string literal with its escapes resolved, or an expression without needless spaces; x['y'] is
/// spelt x.y.
struct TemplatePart {
  bool is_literal = false;
  std::string text;
};

/// What is printed in a row without a control statement in between is one kPrint, text outside of
/// tags included; neighbouring literals are one part.
struct TemplateStatement {
  enum class Kind { kPrint, kSet, kControl };
  Kind kind = Kind::kControl;
  std::string head;                 // kSet: the variable; kControl: the statement
  std::vector<TemplatePart> parts;  // kPrint, kSet: what is added up

  /// The parts as one expression, literals in double quotes: "<|im_start|>"+message.role.
  std::string expression() const;
};

/// White space around tags goes as transformers has it (trim_blocks, lstrip_blocks, and the signs
/// of the tags). Throws Error naming `place` for a tag or a literal without an end.
std::vector<TemplateStatement> read_template(std::string_view text, const std::string& place);

}  // namespace hypenet
