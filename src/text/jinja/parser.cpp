// Statements: text, prints and tags up to the tag that ends them.
#include <array>
#include <utility>

#include "text/jinja/expression_parser.h"
#include "text/jinja/strings.h"
#include "text/jinja/tree.h"

namespace hypenet::jinja {
namespace {

using Kind = Statement::Kind;
using Ends = std::initializer_list<std::string_view>;

class Parser {
 public:
  Parser(std::string_view text, const std::string& place) : in_(text, place) {}

  Body run() {
    Body body = parse_body({});
    in_.check_calls();
    return body;
  }

 private:
  /// Statements up to a tag that begins with one of `ends`, whose {% has been read then; without
  /// any, up to the end of the template.
  Body parse_body(Ends ends) {
    const ExpressionParser::Level level(in_);
    const Position begin = in_.peek().at;
    Body body;
    while (!in_.comes(Token::Kind::kEnd)) {
      const Token token = in_.take();
      if (token.kind == Token::Kind::kText) {
        body.push_back(make(Kind::kText, token.at));
        body.back().text = Value::own(token.text);
      } else if (token.kind == Token::Kind::kPrintBegin) {
        body.push_back(make(Kind::kPrint, token.at));
        body.back().value = in_.parse_tuple();
        if (!in_.comes(Token::Kind::kPrintEnd)) in_.fail("the end of the print (}})");
        in_.take();
      } else {
        for (const std::string_view end : ends) {
          if (in_.comes_word(end)) return body;
        }
        body.push_back(parse_tag());
      }
    }
    if (ends.size() == 0) return body;
    in_.fail_at(begin, concat("an end of the tag ({% ", std::data(ends)[ends.size() - 1], " %})"),
                "none");
  }

  static Statement make(Kind kind, Position at) {
    Statement statement;
    statement.kind = kind;
    statement.at = at;
    return statement;
  }

  void end_tag() {
    if (!in_.comes(Token::Kind::kTagEnd)) in_.fail("the end of the tag (%})");
    in_.take();
  }

  /// The body up to {% name %}, which is read whole.
  Body body_until(std::string_view name) {
    end_tag();
    Body body = parse_body({name});
    in_.take();
    end_tag();
    return body;
  }

  Statement parse_tag() {
    struct Row {
      std::string_view name;
      Statement (Parser::*parse)(Position at);
    };
    static constexpr std::array kTags = {
        Row{"if", &Parser::parse_if},           Row{"for", &Parser::parse_for},
        Row{"set", &Parser::parse_set},         Row{"macro", &Parser::parse_macro},
        Row{"call", &Parser::parse_call_block}, Row{"filter", &Parser::parse_filter_block},
        Row{"with", &Parser::parse_with},       Row{"generation", &Parser::parse_generation},
        Row{"break", &Parser::parse_break},     Row{"continue", &Parser::parse_continue}};
    const Position at = in_.peek().at;
    for (const Row& row : kTags) {
      if (in_.skip_word(row.name)) return (this->*row.parse)(at);
    }
    in_.fail("a known tag");
  }

  Statement parse_if(Position at) {
    Statement statement = make(Kind::kIf, at);
    bool has_condition = true;
    while (true) {
      Branch branch{has_condition ? in_.parse_tuple(/*with_condition=*/false) : nullptr, {}};
      end_tag();
      branch.body = has_condition ? parse_body({"elif", "else", "endif"}) : parse_body({"endif"});
      statement.branches.push_back(std::move(branch));
      if (in_.skip_word("endif")) break;
      has_condition = in_.take().text == "elif";
    }
    end_tag();
    return statement;
  }

  Statement parse_for(Position at) {
    Statement statement = make(Kind::kFor, at);
    statement.target = in_.parse_target(false);
    in_.expect_word("in");
    statement.value = in_.parse_tuple(/*with_condition=*/false);
    if (in_.skip_word("if")) statement.condition = in_.parse_expression();
    statement.is_recursive = in_.skip_word("recursive");
    if (statement.is_recursive) in_.define("loop");
    end_tag();
    ++loops_;
    statement.body = parse_body({"else", "endfor"});
    --loops_;
    if (in_.skip_word("else")) {
      end_tag();
      statement.otherwise = parse_body({"endfor"});
    }
    in_.take();
    end_tag();
    return statement;
  }

  Statement parse_set(Position at) {
    Statement statement = make(Kind::kSet, at);
    statement.target = in_.parse_target(true);
    if (in_.skip_operator("=")) {
      statement.value = in_.parse_tuple();
      end_tag();
      return statement;
    }
    statement.kind = Kind::kSetBlock;
    if (in_.comes_operator("|")) statement.value = in_.parse_filters(block_text(at));
    statement.body = macro_body("endset");
    return statement;
  }

  /// What filters of a block are around: the block's text, which has no name of its own.
  ExpressionPtr block_text(Position at) const {
    return in_.finish(ExpressionParser::make(Expression::Kind::kName, at, ""));
  }

  void parse_signature(Macro& macro) {
    in_.expect_operator("(");
    while (!in_.comes_operator(")")) {
      if (!macro.parameters.empty()) in_.expect_operator(",");
      if (in_.comes_operator(")")) break;
      macro.parameters.push_back(in_.expect_name());
      in_.define(macro.parameters.back());
      if (in_.skip_operator("=")) {
        macro.defaults.push_back(in_.parse_expression());
      } else if (!macro.defaults.empty()) {
        in_.fail("a parameter with a default");
      }
    }
    in_.expect_operator(")");
  }

  /// A body that no jump leaves for a loop outside.
  Body macro_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Body body = body_until(end);
    loops_ = loops;
    return body;
  }

  Statement parse_macro(Position at) {
    Statement statement = make(Kind::kMacro, at);
    Macro macro;
    macro.name = in_.expect_name();
    in_.define(macro.name);
    in_.define("caller");
    parse_signature(macro);
    macro.body = macro_body("endmacro");
    statement.macro = std::make_shared<const Macro>(std::move(macro));
    return statement;
  }

  Statement parse_call_block(Position at) {
    Statement statement = make(Kind::kCallBlock, at);
    Macro macro;
    macro.name = "caller";
    if (in_.comes_operator("(")) parse_signature(macro);
    statement.value = in_.parse_expression();
    if (statement.value->kind != Expression::Kind::kCall) {
      in_.fail_at(statement.value->at, "a call", "another expression");
    }
    macro.body = macro_body("endcall");
    statement.macro = std::make_shared<const Macro>(std::move(macro));
    return statement;
  }

  Statement parse_filter_block(Position at) {
    Statement statement = make(Kind::kFilterBlock, at);
    in_.put_back_pipe();
    statement.value = in_.parse_filters(block_text(at));
    statement.body = macro_body("endfilter");
    return statement;
  }

  Statement parse_with(Position at) {
    Statement statement = make(Kind::kWith, at);
    while (!in_.comes(Token::Kind::kTagEnd)) {
      if (!statement.bindings.empty()) in_.expect_operator(",");
      ExpressionPtr target = in_.parse_target(false);
      in_.expect_operator("=");
      statement.bindings.emplace_back(std::move(target), in_.parse_expression());
    }
    statement.body = body_until("endwith");
    return statement;
  }

  Statement parse_generation(Position at) {
    Statement statement = make(Kind::kGroup, at);
    statement.body = macro_body("endgeneration");
    return statement;
  }

  Statement parse_break(Position at) { return parse_jump(Kind::kBreak, at); }
  Statement parse_continue(Position at) { return parse_jump(Kind::kContinue, at); }

  Statement parse_jump(Kind kind, Position at) {
    if (loops_ == 0) in_.fail_at(at, "break and continue inside a loop", "none around it");
    end_tag();
    return make(kind, at);
  }

  ExpressionParser in_;
  int loops_ = 0;
};

}  // namespace

Tree parse_tree(std::string_view text, const std::string& place) {
  HYPENET_CHECK(text.size() <= kMostTemplate, place, ": expected a template of at most ",
                kMostTemplate, " bytes, found ", text.size());
  return {place, Parser(text, place).run()};
}

}  // namespace hypenet::jinja
