// Statements. A loop's turn, a macro's call and a block have names of their own; if has not.
#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/strings.h"

namespace hypenet::jinja {
namespace {

using Kind = Statement::Kind;

constexpr size_t kMostObjects = 100'000;  // macros and namespaces that a rendering makes

}  // namespace

Evaluator::Depth::Depth(Evaluator& evaluator, Position at) : depth_(evaluator.depth_) {
  if (depth_ >= kMostCalls) {
    evaluator.fail_at(
        at, concat("expected calls within calls at most ", kMostCalls, " deep, found deeper ones"));
  }
  ++depth_;
}

void Evaluator::fail_at(Position at, const std::string& text) const {
  throw Error(concat(describe(tree_.place, at), ": ", text));
}

Text Evaluator::run(const Dict& variables) {
  frame_ = std::make_shared<Frame>();
  for (const auto& [name, value] : variables.items) {
    frame_->values.insert_or_assign(name.text()->bytes(), value);
  }
  frame_ = std::make_shared<Frame>(Frame{frame_});
  run_body(tree_.body);
  return std::move(out_);
}

Evaluator::Flow Evaluator::run_body(const Body& body) {
  if (body.empty()) return Flow::kNext;
  const Depth depth(*this, body.front().at);
  for (const Statement& statement : body) {
    Flow flow = Flow::kNext;
    try {
      work_.step();
      flow = run_statement(statement);
    } catch (const Fault& fault) {
      fail_at(statement.at, fault.text);
    }
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run_statement(const Statement& statement) {
  switch (statement.kind) {
    case Kind::kText:
      print(statement.text);
      break;
    case Kind::kPrint:
      print(evaluate(*statement.value));
      break;
    case Kind::kIf:
      return run_if(statement);
    case Kind::kFor:
      return run_for(statement, evaluate(*statement.value), 1, nullptr);
    case Kind::kSet:
      assign(*statement.target, evaluate(*statement.value));
      break;
    case Kind::kSetBlock:
      assign(*statement.target, filtered_block(statement));
      break;
    case Kind::kMacro:
      frame_->values.insert_or_assign(
          statement.macro->name,
          Value(Callable{nullptr, make_closure(statement.macro.get(), nullptr), {}}));
      break;
    case Kind::kCallBlock:
      run_call_block(statement);
      break;
    case Kind::kFilterBlock:
      print(filtered_block(statement));
      break;
    case Kind::kWith:
      run_with(statement);
      break;
    case Kind::kGroup:
      return run_inner(statement.body);
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

void Evaluator::print(const Value& value) {
  if (const Text* text = value.text()) {
    work_.text(text->size());
    out_.append(*text);
  } else {
    out_.append(to_text(work_, value));
  }
  work_.size(out_.size());
}

Evaluator::Flow Evaluator::run_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition == nullptr || evaluate(*branch.condition).is_true()) {
      return run_body(branch.body);
    }
  }
  return Flow::kNext;
}

/// With names of its own.
Evaluator::Flow Evaluator::run_inner(const Body& body) {
  frame_ = std::make_shared<Frame>(Frame{frame_});
  const Flow flow = run_body(body);
  frame_ = frame_->parent;
  return flow;
}

/// What the loop goes through, after its condition.
std::vector<Value> Evaluator::loop_items(const Statement& statement, const Value& over) {
  std::vector<Value> items = items_of(work_, over);
  if (statement.condition == nullptr) return items;
  const std::shared_ptr<Frame> outer = frame_;
  std::vector<Value> kept;
  for (Value& item : items) {
    work_.turn();
    frame_ = std::make_shared<Frame>(Frame{outer});
    assign(*statement.target, item);
    if (evaluate(*statement.condition).is_true()) kept.push_back(std::move(item));
  }
  frame_ = outer;
  return kept;
}

Evaluator::Flow Evaluator::run_for(const Statement& statement, const Value& over, int64_t depth,
                                   const Closure* closure) {
  const auto loop = std::make_shared<Loop>();
  loop->items = loop_items(statement, over);
  loop->depth = depth;
  for (const Value& item : loop->items) loop->height = std::max(loop->height, item.height() + 1);
  loop->closure = closure;
  if (statement.is_recursive && closure == nullptr) {
    loop->closure = make_closure(nullptr, &statement);
  }
  const std::shared_ptr<Frame> outer = frame_;
  bool is_through = false;
  for (; loop->index < loop->items.size(); ++loop->index) {
    work_.turn();
    frame_ = std::make_shared<Frame>(Frame{outer});
    frame_->values.emplace("loop", Value(std::shared_ptr<const Loop>(loop)));
    assign(*statement.target, loop->items[loop->index]);
    const Flow flow = run_body(statement.body);
    if (flow == Flow::kBreak) break;
    is_through = is_through || flow == Flow::kNext;
  }
  frame_ = outer;
  // jinja2 takes else where no turn came to the end of its body, jumps included.
  return is_through ? Flow::kNext : run_inner(statement.otherwise);
}

void Evaluator::run_with(const Statement& statement) {
  const auto inner = std::make_shared<Frame>(Frame{frame_});
  std::vector<Value> values;
  for (const auto& [target, value] : statement.bindings) values.push_back(evaluate(*value));
  frame_ = inner;
  for (size_t i = 0; i < values.size(); ++i) {
    assign(*statement.bindings[i].first, std::move(values[i]));
  }
  run_body(statement.body);
  frame_ = inner->parent;
}

void Evaluator::run_call_block(const Statement& statement) {
  const Value caller(Callable{nullptr, make_closure(statement.macro.get(), nullptr), {}});
  print(evaluate_call(*statement.value, &caller));
}

const Closure* Evaluator::make_closure(const Macro* macro, const Statement* loop) {
  if (closures_.size() >= kMostObjects) fail("expected at most ", kMostObjects, " macros");
  closures_.push_back(std::make_unique<Closure>(Closure{macro, loop, frame_}));
  return closures_.back().get();
}

Text Evaluator::captured(const Body& body) {
  Text outer = std::exchange(out_, Text());
  run_inner(body);
  return std::exchange(out_, std::move(outer));
}

Value Evaluator::filtered_block(const Statement& statement) {
  Value text(captured(statement.body));
  if (statement.value == nullptr) return text;
  std::swap(block_, text);
  Value result = evaluate(*statement.value);
  block_ = std::move(text);
  return result;
}

void Evaluator::assign(const Expression& target, Value value) {
  if (target.kind == Expression::Kind::kName) {
    frame_->values.insert_or_assign(target.name, std::move(value));
    return;
  }
  if (target.kind == Expression::Kind::kAttribute) {
    return assign_attribute(target, std::move(value));
  }
  const std::vector<Value> items = items_of(work_, value);
  if (items.size() != target.parts.size()) {
    fail_at(target.at,
            concat("expected ", target.parts.size(), " values to set, found ", items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

void Evaluator::assign_attribute(const Expression& target, Value value) {
  Namespace* const space = evaluate(*target.parts[0]).name_space();
  if (space == nullptr) fail_at(target.at, "expected a namespace to set an attribute of");
  if (target.name.starts_with('_')) {
    fail_at(target.at, "expected an attribute that does not begin with an underscore");
  }
  space->attributes.set(Value::own(target.name), std::move(value));
}

Value Evaluator::make_namespace(const Arguments& arguments) {
  if (spaces_.size() >= kMostObjects) fail("expected at most ", kMostObjects, " namespaces");
  spaces_.push_back(std::make_unique<Namespace>());
  Dict& attributes = spaces_.back()->attributes;
  for (const Value& value : arguments.values) {
    if (value.dict() == nullptr) fail("namespace: expected a dict, found a ", value.type());
    for (const auto& [key, item] : value.dict()->items) attributes.set(key, item);
  }
  for (const auto& [name, value] : arguments.named) attributes.set(Value::own(name), value);
  for (const auto& [key, value] : attributes.items) {
    if (key.text() != nullptr && key.text()->bytes().starts_with('_')) {
      fail("namespace: expected names that do not begin with an underscore");
    }
  }
  return Value(spaces_.back().get());
}

Value Evaluator::call_macro(const Closure& closure, const Arguments& arguments,
                            const Value* caller) {
  const std::shared_ptr<Frame> outer = frame_;
  frame_ = std::make_shared<Frame>(Frame{closure.frame});
  if (caller != nullptr) frame_->values.emplace("caller", *caller);
  bind_macro(*closure.macro, arguments);
  Text before = std::exchange(out_, Text());
  run_body(closure.macro->body);
  frame_ = outer;
  return Value(std::exchange(out_, std::move(before)));
}

/// loop(items) of a recursive loop: the loop once more, one deeper.
Value Evaluator::call_loop(const Loop& loop, const Arguments& arguments) {
  if (arguments.values.size() != 1 || !arguments.named.empty()) {
    fail("loop: expected one argument, found ", arguments.values.size());
  }
  const std::shared_ptr<Frame> outer = std::exchange(frame_, loop.closure->frame);
  Text before = std::exchange(out_, Text());
  run_for(*loop.closure->loop, arguments.values[0], loop.depth + 1, loop.closure);
  frame_ = outer;
  return Value(std::exchange(out_, std::move(before)));
}

void Evaluator::bind_macro(const Macro& macro, const Arguments& arguments) {
  const size_t count = macro.parameters.size(), given = arguments.values.size();
  if (given > count) {
    fail(macro.name, ": expected at most ", count, " arguments, found ", given);
  }
  for (const auto& [name, value] : arguments.named) {
    const auto place = std::ranges::find(macro.parameters, name);
    if (place == macro.parameters.end()) fail(macro.name, ": expected no argument ", name);
    if (static_cast<size_t>(place - macro.parameters.begin()) < given) {
      fail(macro.name, ": expected one argument ", name, ", found two");
    }
    frame_->values.insert_or_assign(name, value);
  }
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    if (i < given) frame_->values.insert_or_assign(name, arguments.values[i]);
    if (i < given || frame_->values.contains(name)) continue;
    const size_t first_default = count - macro.defaults.size();
    Value value = i < first_default
                      ? Value::undefined(concat("parameter '", name, "' was not provided"))
                      : evaluate(*macro.defaults[i - first_default]);
    frame_->values.insert_or_assign(name, std::move(value));
  }
}

}  // namespace hypenet::jinja
