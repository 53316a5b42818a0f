// One function a rank, from the loosest operator to the tightest.
#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "text/jinja/strings.h"

namespace hypenet::jinja {
namespace {

using Kind = Expression::Kind;

std::string describe_token(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kText:
      return "text";
    case Token::Kind::kPrintBegin:
      return "{{";
    case Token::Kind::kPrintEnd:
      return "the end of the print (}})";
    case Token::Kind::kTagBegin:
      return "{%";
    case Token::Kind::kTagEnd:
      return "the end of the tag (%})";
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kName:
    case Token::Kind::kString:
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
    case Token::Kind::kOperator:
      return in_quotes(token.text);
  }
  return "";
}

}  // namespace

ExpressionParser::ExpressionParser(std::string_view text, const std::string& place)
    : place_(place), tokens_(read_tokens(text, place)) {}

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.level_ <= kMostDepth) return;
  --parser_.level_;
  parser_.fail_at(parser_.peek().at, concat("a template nested at most ", kMostDepth, " deep"),
                  "a deeper one");
}

const Token& ExpressionParser::peek(size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

Token ExpressionParser::take() {
  Token token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::comes_word(std::string_view name, size_t ahead) const {
  return peek(ahead).kind == Token::Kind::kName && peek(ahead).text == name;
}

bool ExpressionParser::comes_operator(std::string_view spelt) const {
  return comes(Token::Kind::kOperator) && peek().text == spelt;
}

bool ExpressionParser::skip_word(std::string_view name) {
  const bool comes = comes_word(name);
  if (comes) take();
  return comes;
}

bool ExpressionParser::skip_operator(std::string_view spelt) {
  const bool comes = comes_operator(spelt);
  if (comes) take();
  return comes;
}

void ExpressionParser::expect_word(std::string_view name) {
  if (!skip_word(name)) fail(in_quotes(name));
}

void ExpressionParser::expect_operator(std::string_view spelt) {
  if (!skip_operator(spelt)) fail(in_quotes(spelt));
}

std::string ExpressionParser::expect_name() {
  if (!comes(Token::Kind::kName)) fail("a name");
  return take().text;
}

void ExpressionParser::put_back_pipe() {
  // The tag's own word has been read and is needed no more.
  tokens_[--at_] = {Token::Kind::kOperator, "|", peek().at};
}

void ExpressionParser::fail_at(Position at, std::string_view expected,
                               std::string_view found) const {
  throw Error(concat(describe(place_, at), ": expected ", expected, ", found ", found));
}

void ExpressionParser::fail(std::string_view expected) const {
  fail_at(peek().at, expected, describe_token(peek()));
}

Expression ExpressionParser::make(Kind kind, Position at, std::string name) {
  Expression node;
  node.kind = kind;
  node.at = at;
  node.name = std::move(name);
  return node;
}

ExpressionPtr ExpressionParser::finish(Expression expression) const {
  const auto rise = [&](const ExpressionPtr& part) {
    if (part != nullptr) expression.height = std::max(expression.height, part->height + 1);
  };
  std::ranges::for_each(expression.parts, rise);
  for (const auto& [name, part] : expression.named) rise(part);
  if (expression.height > kMostDepth) {
    fail_at(expression.at, concat("an expression nested at most ", kMostDepth, " deep"),
            "a deeper one");
  }
  return std::make_unique<const Expression>(std::move(expression));
}

ExpressionPtr ExpressionParser::parse_expression(bool with_condition) {
  const Level level(*this);
  return with_condition ? parse_condition() : parse_or();
}

ExpressionPtr ExpressionParser::parse_condition() {
  ExpressionPtr node = parse_or();
  while (comes_word("if")) {
    Expression choice = make(Kind::kConditional, take().at);
    choice.parts.push_back(parse_or());
    choice.parts.push_back(std::move(node));
    choice.parts.push_back(skip_word("else") ? parse_expression() : nullptr);
    node = finish(std::move(choice));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr node = parse_and();
  if (!comes_word("or")) return node;
  Expression all = make(Kind::kOr, peek().at);
  all.parts.push_back(std::move(node));
  while (skip_word("or")) all.parts.push_back(parse_and());
  return finish(std::move(all));
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr node = parse_not();
  if (!comes_word("and")) return node;
  Expression all = make(Kind::kAnd, peek().at);
  all.parts.push_back(std::move(node));
  while (skip_word("and")) all.parts.push_back(parse_not());
  return finish(std::move(all));
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!comes_word("not")) return parse_compare();
  const Level level(*this);
  Expression node = make(Kind::kNot, take().at);
  node.parts.push_back(parse_not());
  return finish(std::move(node));
}

std::string ExpressionParser::parse_compare_operator() {
  for (const std::string_view spelt : {"==", "!=", "<", "<=", ">", ">="}) {
    if (skip_operator(spelt)) return std::string(spelt);
  }
  if (skip_word("in")) return "in";
  if (!comes_word("not") || !comes_word("in", 1)) return "";
  take();
  take();
  return "not in";
}

ExpressionPtr ExpressionParser::parse_compare() {
  Expression chain = make(Kind::kCompare, peek().at);
  chain.parts.push_back(parse_sum());
  while (true) {
    std::string spelt = parse_compare_operator();
    if (spelt.empty()) break;
    chain.operators.push_back(std::move(spelt));
    chain.parts.push_back(parse_sum());
  }
  return chain.operators.empty() ? std::move(chain.parts[0]) : finish(std::move(chain));
}

ExpressionPtr ExpressionParser::parse_left(Parse next,
                                           std::initializer_list<std::string_view> operators) {
  ExpressionPtr node = (this->*next)();
  while (comes(Token::Kind::kOperator) && std::ranges::count(operators, peek().text) > 0) {
    const Token spelt = take();
    Expression pair = make(Kind::kBinary, spelt.at, spelt.text);
    pair.parts.push_back(std::move(node));
    pair.parts.push_back((this->*next)());
    node = finish(std::move(pair));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_sum() {
  return parse_left(&ExpressionParser::parse_concat, {"+", "-"});
}

ExpressionPtr ExpressionParser::parse_concat() {
  ExpressionPtr node = parse_product();
  if (!comes_operator("~")) return node;
  Expression all = make(Kind::kConcat, peek().at);
  all.parts.push_back(std::move(node));
  while (skip_operator("~")) all.parts.push_back(parse_product());
  return finish(std::move(all));
}

ExpressionPtr ExpressionParser::parse_product() {
  return parse_left(&ExpressionParser::parse_power, {"*", "/", "//", "%"});
}

ExpressionPtr ExpressionParser::parse_power() {
  return parse_left(&ExpressionParser::parse_signed, {"**"});
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Level level(*this);
  ExpressionPtr node;
  if (comes_operator("-") || comes_operator("+")) {
    const Token sign = take();
    Expression inner = make(sign.text == "-" ? Kind::kNegative : Kind::kPositive, sign.at);
    inner.parts.push_back(parse_unary(false));
    node = finish(std::move(inner));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filter_chain(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::parse_primary() {
  switch (peek().kind) {
    case Token::Kind::kName:
      return parse_name();
    case Token::Kind::kString:
      return parse_string();
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return parse_number();
    default:
      break;
  }
  if (skip_operator("(")) {
    ExpressionPtr node = parse_tuple(true, /*may_be_empty=*/true);
    expect_operator(")");
    return node;
  }
  if (comes_operator("[")) return parse_list();
  if (comes_operator("{")) return parse_dict();
  fail("an expression");
}

ExpressionPtr ExpressionParser::parse_name() {
  const Token token = take();
  const std::string& name = token.text;
  if (name[0] >= '0' && name[0] <= '9') fail_at(token.at, "a name", in_quotes(name));
  const bool is_constant = name == "true" || name == "True" || name == "false" || name == "False" ||
                           name == "none" || name == "None";
  Expression node = make(is_constant ? Kind::kConstant : Kind::kName, token.at, name);
  if (is_constant) {
    const bool is_none = name == "none" || name == "None";
    node.constant = is_none ? Value::none() : Value(name == "true" || name == "True");
  }
  return finish(std::move(node));
}

ExpressionPtr ExpressionParser::parse_string() {
  Expression node = make(Kind::kConstant, peek().at);
  std::string text;
  while (comes(Token::Kind::kString)) text += take().text;
  node.constant = Value::own(text);
  return finish(std::move(node));
}

ExpressionPtr ExpressionParser::parse_number() {
  const Token token = take();
  Expression node = make(Kind::kConstant, token.at);
  const char* const begin = token.text.data();
  const char* const end = begin + token.text.size();
  if (token.kind == Token::Kind::kFloat) {
    double value = 0;
    const auto read = std::from_chars(begin, end, value);
    if (read.ec != std::errc() && read.ec != std::errc::result_out_of_range) {
      fail_at(token.at, "a number", in_quotes(token.text));
    }
    node.constant = Value(value);
  } else {
    int64_t value = 0;
    const auto read = std::from_chars(begin, end, value);
    if (read.ec != std::errc()) fail_at(token.at, "a number of 64 bits", in_quotes(token.text));
    node.constant = Value(value);
  }
  return finish(std::move(node));
}

ExpressionPtr ExpressionParser::parse_list() {
  Expression list = make(Kind::kList, take().at);
  while (!comes_operator("]")) {
    if (!list.parts.empty()) expect_operator(",");
    if (comes_operator("]")) break;
    list.parts.push_back(parse_expression());
  }
  expect_operator("]");
  return finish(std::move(list));
}

ExpressionPtr ExpressionParser::parse_dict() {
  Expression dict = make(Kind::kDict, take().at);
  while (!comes_operator("}")) {
    if (!dict.parts.empty()) expect_operator(",");
    if (comes_operator("}")) break;
    dict.parts.push_back(parse_expression());
    expect_operator(":");
    dict.parts.push_back(parse_expression());
  }
  expect_operator("}");
  return finish(std::move(dict));
}

ExpressionPtr ExpressionParser::parse_tuple(bool with_condition, bool may_be_empty) {
  Expression tuple = make(Kind::kTuple, peek().at);
  bool has_comma = false;
  const auto ends = [&] {
    return comes(Token::Kind::kPrintEnd) || comes(Token::Kind::kTagEnd) || comes_operator(")") ||
           comes_word("recursive");
  };
  while (!ends()) {
    tuple.parts.push_back(parse_expression(with_condition));
    if (!skip_operator(",")) break;
    has_comma = true;
  }
  if (has_comma) return finish(std::move(tuple));
  if (!tuple.parts.empty()) return std::move(tuple.parts[0]);
  if (!may_be_empty) fail("an expression");
  return finish(std::move(tuple));
}

}  // namespace hypenet::jinja
