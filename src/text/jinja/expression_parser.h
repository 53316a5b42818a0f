// Expressions, with the ranks of operators that jinja2 has. Filters, tests and builtin functions
// are looked up here; names that are called are kept until all that the template defines is known.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/builtins.h"
#include "text/jinja/tree.h"

namespace hypenet::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::string_view text, const std::string& place);

  const Token& peek(size_t ahead = 0) const;
  Token take();
  bool comes(Token::Kind kind) const { return peek().kind == kind; }
  bool comes_word(std::string_view name, size_t ahead = 0) const;
  bool comes_operator(std::string_view spelt) const;
  bool skip_word(std::string_view name);
  bool skip_operator(std::string_view spelt);
  void expect_word(std::string_view name);
  void expect_operator(std::string_view spelt);
  std::string expect_name();

  [[noreturn]] void fail_at(Position at, std::string_view expected, std::string_view found) const;
  /// The next token is not what was expected.
  [[noreturn]] void fail(std::string_view expected) const;

  ExpressionPtr parse_expression(bool with_condition = true);
  /// One expression, or several with commas between: a tuple.
  ExpressionPtr parse_tuple(bool with_condition = true, bool may_be_empty = false);
  /// | filter | filter ..., around an expression; at least one is expected next.
  ExpressionPtr parse_filters(ExpressionPtr input);
  /// {% filter upper %} is spelt without the sign that is before other filters.
  void put_back_pipe();
  /// What is set: a name, a tuple of names; `with_space`: or an attribute of a namespace.
  ExpressionPtr parse_target(bool with_space);
  /// Arguments in parentheses; they become parts and named.
  void parse_arguments(Expression& call);

  /// A name that the template itself defines.
  void define(const std::string& name) { defined_.insert(name); }
  /// Throws Error for a call of a name or method that nothing defines.
  void check_calls() const;

  /// Guards against deep nesting for as long as it lives.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
  };

  static Expression make(Expression::Kind kind, Position at, std::string name = {});
  /// Counts its height. Throws Error where it is over the limit.
  ExpressionPtr finish(Expression expression) const;

 private:
  using Parse = ExpressionPtr (ExpressionParser::*)();

  ExpressionPtr parse_condition();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_signed() { return parse_unary(true); }
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_string();
  ExpressionPtr parse_number();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_after_dot(ExpressionPtr node);
  ExpressionPtr parse_subscript(ExpressionPtr node);
  ExpressionPtr parse_filter_chain(ExpressionPtr node);
  ExpressionPtr parse_filter(ExpressionPtr node);
  ExpressionPtr parse_test(ExpressionPtr node);
  ExpressionPtr parse_call(ExpressionPtr node);
  ExpressionPtr parse_left(Parse next, std::initializer_list<std::string_view> operators);
  std::string parse_compare_operator();
  std::string dotted_name();
  bool begins_test_argument() const;
  void check_arguments(const Expression& call, size_t first) const;
  void check_named_builtin(const Expression& filter) const;

  struct NamedCall {
    std::string name;
    Position at;
    bool is_method = false;
  };

  const std::string& place_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
  std::set<std::string> defined_;
  std::vector<NamedCall> calls_;
};

}  // namespace hypenet::jinja
