// Expressions. A fault of a builtin becomes an error here, at the place of its expression.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/strings.h"

namespace hypenet::jinja {
namespace {

using Kind = Expression::Kind;

}  // namespace

Value Evaluator::evaluate(const Expression& node) {
  const Depth depth(*this, node.at);
  try {
    work_.step();
    return evaluate_kind(node);
  } catch (const Fault& fault) {
    fail_at(node.at, fault.text);
  }
}

Value Evaluator::evaluate_kind(const Expression& node) {
  switch (node.kind) {
    case Kind::kConstant:
      return node.constant;
    case Kind::kName:
      return node.name.empty() ? block_ : look_up(node.name);
    case Kind::kList:
    case Kind::kTuple:
      return evaluate_list(node);
    case Kind::kDict:
      return evaluate_dict(node);
    case Kind::kAttribute:
      return attribute(work_, evaluate(*node.parts[0]), node.name);
    case Kind::kItem: {
      const Value value = evaluate(*node.parts[0]);
      return item(work_, value, evaluate(*node.parts[1]));
    }
    case Kind::kSlice:
      return evaluate_slice(node);
    case Kind::kNot:
      return Value(!evaluate(*node.parts[0]).is_true());
    case Kind::kNegative:
    case Kind::kPositive:
      return evaluate_sign(node);
    case Kind::kAnd:
    case Kind::kOr:
      return evaluate_logic(node);
    case Kind::kBinary: {
      const Value left = evaluate(*node.parts[0]);
      return binary(work_, node.name, left, evaluate(*node.parts[1]));
    }
    case Kind::kConcat:
      return evaluate_concat(node);
    case Kind::kCompare:
      return evaluate_compare(node);
    case Kind::kConditional:
      return evaluate_conditional(node);
    case Kind::kFilter:
    case Kind::kTest:
      return evaluate_filter(node);
    case Kind::kCall:
      return evaluate_call(node, nullptr);
  }
  return {};
}

Value Evaluator::evaluate_list(const Expression& node) {
  work_.items(node.parts.size());
  List list;
  list.is_tuple = node.kind == Kind::kTuple;
  for (const ExpressionPtr& part : node.parts) list.items.push_back(evaluate(*part));
  return Value(std::move(list));
}

Value Evaluator::evaluate_dict(const Expression& node) {
  work_.items(node.parts.size());
  Dict dict;
  for (size_t i = 0; i < node.parts.size(); i += 2) {
    const Value key = evaluate(*node.parts[i]);
    if (key.text() != nullptr) work_.text(key.text()->size());
    dict.set(key, evaluate(*node.parts[i + 1]));
  }
  return Value(std::move(dict));
}

Value Evaluator::evaluate_logic(const Expression& node) {
  Value value;
  for (const ExpressionPtr& part : node.parts) {
    value = evaluate(*part);
    if (value.is_true() == (node.kind == Kind::kOr)) break;
  }
  return value;
}

Value Evaluator::evaluate_compare(const Expression& node) {
  Value left = evaluate(*node.parts[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    Value right = evaluate(*node.parts[i + 1]);
    if (!compare(work_, node.operators[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Evaluator::evaluate_concat(const Expression& node) {
  Text text;
  for (const ExpressionPtr& part : node.parts) {
    text.append(to_text(work_, evaluate(*part)));
    work_.size(text.size());
  }
  work_.text(text.size());
  return Value(std::move(text));
}

Value Evaluator::evaluate_sign(const Expression& node) {
  const Value value = evaluate(*node.parts[0]);
  if (value.is_undefined()) fail(value.reason());
  if (!value.is_number()) fail("expected a number, found a ", value.type());
  if (node.kind == Kind::kPositive) return value.is_float() ? value : Value(value.integer());
  if (value.is_float()) return Value(-value.number());
  return binary(work_, "-", Value(int64_t{0}), value);
}

Value Evaluator::evaluate_slice(const Expression& node) {
  const Value value = evaluate(*node.parts[0]);
  Value ends[3];
  for (size_t i = 0; i < 3; ++i) {
    if (node.parts[i + 1] != nullptr) ends[i] = evaluate(*node.parts[i + 1]);
  }
  const auto end = [&](size_t i) {
    return node.parts[i + 1] == nullptr || ends[i].is_none() ? nullptr : &ends[i];
  };
  return slice(work_, value, end(0), end(1), end(2));
}

Value Evaluator::evaluate_conditional(const Expression& node) {
  if (evaluate(*node.parts[0]).is_true()) return evaluate(*node.parts[1]);
  if (node.parts[2] != nullptr) return evaluate(*node.parts[2]);
  return Value::undefined("the inline if has no else for a condition that is false");
}

Arguments Evaluator::evaluate_arguments(const Expression& node) {
  Arguments arguments;
  for (size_t i = 1; i < node.parts.size(); ++i) {
    arguments.values.push_back(evaluate(*node.parts[i]));
  }
  for (const auto& [name, value] : node.named) {
    arguments.named.emplace_back(name, evaluate(*value));
  }
  return arguments;
}

Value Evaluator::evaluate_filter(const Expression& node) {
  const Value input = evaluate(*node.parts[0]);
  return call_builtin(*node.builtin, work_, input, evaluate_arguments(node));
}

Value Evaluator::look_up(const std::string& name) const {
  for (const Frame* frame = frame_.get(); frame != nullptr; frame = frame->parent.get()) {
    const auto place = frame->values.find(name);
    if (place != frame->values.end()) return place->second;
  }
  if (const Builtin* function = find_function(name)) {
    return Value(Callable{function, nullptr, {}});
  }
  return Value::undefined(concat("'", name, "' is undefined"));
}

Value Evaluator::evaluate_call(const Expression& node, const Value* caller) {
  const Value callee = evaluate(*node.parts[0]);
  return call(callee, evaluate_arguments(node), caller);
}

Value Evaluator::call(const Value& callee, const Arguments& arguments, const Value* caller) {
  if (callee.is_undefined()) fail(callee.reason());
  if (const Loop* loop = callee.loop(); loop != nullptr && loop->closure != nullptr) {
    return call_loop(*loop, arguments);
  }
  const Callable* callable = callee.callable();
  if (callable == nullptr) fail("expected a function to call, found a ", callee.type());
  if (callable->closure != nullptr) return call_macro(*callable->closure, arguments, caller);
  if (callable->builtin->name == "namespace") return make_namespace(arguments);
  return call_builtin(*callable->builtin, work_, callable->self, arguments);
}

}  // namespace hypenet::jinja
