// What follows an expression's first word: attributes, items, calls, filters and tests; and what a
// template may set.
#include <algorithm>

#include "text/jinja/expression_parser.h"
#include "text/jinja/strings.h"

namespace hypenet::jinja {
namespace {

using Kind = Expression::Kind;

}  // namespace

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr node) {
  while (true) {
    if (skip_operator(".")) {
      node = parse_after_dot(std::move(node));
    } else if (skip_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (comes_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::parse_after_dot(ExpressionPtr node) {
  const Token token = take();
  if (token.kind == Token::Kind::kInteger) {
    Expression item = make(Kind::kItem, token.at);
    Expression index = make(Kind::kConstant, token.at);
    index.constant = Value(static_cast<int64_t>(std::atoll(token.text.c_str())));
    item.parts.push_back(std::move(node));
    item.parts.push_back(finish(std::move(index)));
    return finish(std::move(item));
  }
  if (token.kind != Token::Kind::kName) fail_at(token.at, "a name", in_quotes(token.text));
  Expression attribute = make(Kind::kAttribute, token.at, token.text);
  attribute.parts.push_back(std::move(node));
  return finish(std::move(attribute));
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr node) {
  Expression item = make(Kind::kItem, peek().at);
  item.parts.push_back(std::move(node));
  const auto part = [&]() -> ExpressionPtr {
    if (comes_operator(":") || comes_operator("]")) return nullptr;
    return parse_expression();
  };
  item.parts.push_back(part());
  while (comes_operator(":") && item.parts.size() < 4) {
    take();
    item.kind = Kind::kSlice;
    item.parts.push_back(part());
  }
  if (comes_operator(",")) fail("one index");
  if (item.kind == Kind::kItem && item.parts[1] == nullptr) fail("an index");
  if (item.kind == Kind::kSlice) item.parts.resize(4);
  expect_operator("]");
  return finish(std::move(item));
}

ExpressionPtr ExpressionParser::parse_filter_chain(ExpressionPtr node) {
  while (true) {
    if (comes_operator("|")) {
      node = parse_filter(std::move(node));
    } else if (comes_word("is")) {
      node = parse_test(std::move(node));
    } else if (comes_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr input) {
  if (!comes_operator("|")) fail("a filter");
  while (comes_operator("|")) input = parse_filter(std::move(input));
  return input;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_name();
  while (skip_operator(".")) name += "." + expect_name();
  return name;
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr node) {
  expect_operator("|");
  Expression filter = make(Kind::kFilter, peek().at);
  filter.name = dotted_name();
  filter.builtin = find_filter(filter.name);
  if (filter.builtin == nullptr) fail_at(filter.at, "a known filter", in_quotes(filter.name));
  filter.parts.push_back(std::move(node));
  if (comes_operator("(")) parse_arguments(filter);
  check_arguments(filter, 1);
  check_named_builtin(filter);
  return finish(std::move(filter));
}

bool ExpressionParser::begins_test_argument() const {
  switch (peek().kind) {
    case Token::Kind::kName:
      return !comes_word("else") && !comes_word("or") && !comes_word("and");
    case Token::Kind::kString:
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return true;
    default:
      return comes_operator("[") || comes_operator("{");
  }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr node) {
  const Position at = take().at;
  const bool is_negated = skip_word("not");
  Expression test = make(Kind::kTest, peek().at);
  test.name = dotted_name();
  test.builtin = find_test(test.name);
  if (test.builtin == nullptr) fail_at(test.at, "a known test", in_quotes(test.name));
  test.parts.push_back(std::move(node));
  if (comes_operator("(")) {
    parse_arguments(test);
  } else if (begins_test_argument()) {
    if (comes_word("is")) fail("one test");
    const Level level(*this);
    test.parts.push_back(parse_postfix(parse_primary()));
  }
  check_arguments(test, 1);
  if (!is_negated) return finish(std::move(test));
  Expression negation = make(Kind::kNot, at);
  negation.parts.push_back(finish(std::move(test)));
  return finish(std::move(negation));
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr node) {
  Expression call = make(Kind::kCall, node->at);
  const bool is_name = node->kind == Kind::kName, is_method = node->kind == Kind::kAttribute;
  if (is_name || is_method) calls_.push_back({node->name, node->at, is_method});
  call.parts.push_back(std::move(node));
  parse_arguments(call);
  return finish(std::move(call));
}

void ExpressionParser::parse_arguments(Expression& call) {
  expect_operator("(");
  bool is_first = true;
  while (!comes_operator(")")) {
    if (!is_first) expect_operator(",");
    is_first = false;
    if (comes_operator(")")) break;
    if (comes_operator("*") || comes_operator("**")) fail("an argument without *");
    const bool is_named =
        comes(Token::Kind::kName) && peek(1).kind == Token::Kind::kOperator && peek(1).text == "=";
    if (is_named) {
      std::string name = take().text;
      take();
      call.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!call.named.empty()) fail("an argument with a name");
      call.parts.push_back(parse_expression());
    }
  }
  expect_operator(")");
}

void ExpressionParser::check_arguments(const Expression& call, size_t first) const {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : call.named) names.push_back(name);
  const std::string fault = find_argument_fault(*call.builtin, call.parts.size() - first, names);
  if (!fault.empty()) throw Error(concat(describe(place_, call.at), ": ", fault));
}

/// map('upper'), select('defined'), selectattr('name', 'equalto', 'x'): what they name must be
/// known.
void ExpressionParser::check_named_builtin(const Expression& filter) const {
  const bool of_items = filter.name == "map" || filter.name == "select" || filter.name == "reject";
  const bool of_attributes = filter.name == "selectattr" || filter.name == "rejectattr";
  const size_t which = of_attributes ? 2 : 1;
  if ((!of_items && !of_attributes) || filter.parts.size() <= which) return;
  const Text* name = filter.parts[which]->constant.text();
  if (name == nullptr) return;
  const bool is_filter = filter.name == "map";
  const Builtin* found = is_filter ? find_filter(name->bytes()) : find_test(name->bytes());
  if (found != nullptr) return;
  fail_at(filter.parts[which]->at, is_filter ? "a known filter" : "a known test",
          in_quotes(name->bytes()));
}

ExpressionPtr ExpressionParser::parse_target(bool with_space) {
  Expression tuple = make(Kind::kTuple, peek().at);
  bool has_comma = false;
  do {
    if (!tuple.parts.empty() && !comes(Token::Kind::kName) && !comes_operator("(")) break;
    const bool in_parentheses = skip_operator("(");
    if (in_parentheses) {
      const Level level(*this);
      tuple.parts.push_back(parse_target(false));
      expect_operator(")");
      continue;
    }
    ExpressionPtr name = parse_primary();
    if (name->kind != Kind::kName) fail_at(name->at, "a name to set", "another expression");
    if (with_space && skip_operator(".")) {
      Expression attribute = make(Kind::kAttribute, peek().at, expect_name());
      define(attribute.name);
      attribute.parts.push_back(std::move(name));
      name = finish(std::move(attribute));
    } else {
      define(name->name);
    }
    tuple.parts.push_back(std::move(name));
  } while (skip_operator(",") && (has_comma = true));
  return has_comma ? finish(std::move(tuple)) : std::move(tuple.parts[0]);
}

void ExpressionParser::check_calls() const {
  for (const auto& [name, at, is_of_value] : calls_) {
    if (defined_.contains(name)) continue;
    if (is_of_value && !is_method(name)) fail_at(at, "a known method", in_quotes(name));
    if (!is_of_value && find_function(name) == nullptr) {
      fail_at(at, "a known function", in_quotes(name));
    }
  }
}

}  // namespace hypenet::jinja
