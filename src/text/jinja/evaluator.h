// Runs a tree: statements print into a text, expressions give values. One evaluator serves one
// rendering.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "text/jinja/builtins.h"
#include "text/jinja/tree.h"

namespace hypenet::jinja {

struct Frame;

/// A macro or recursive loop with the names that it sees; values point to it.
struct Closure {
  const Macro* macro = nullptr;
  const Statement* loop = nullptr;
  std::shared_ptr<Frame> frame;
};

/// Names that are set here; others are looked for in the parent.
struct Frame {
  std::shared_ptr<Frame> parent = {};
  std::map<std::string, Value, std::less<>> values = {};
};

class Evaluator {
 public:
  Evaluator(const Tree& tree, Work& work) : tree_(tree), work_(work) {}

  /// The output. `variables` are what the template's names mean at first. Throws Error.
  Text run(const Dict& variables);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  /// What calls itself without end is found by its depth.
  class Depth {
   public:
    Depth(Evaluator& evaluator, Position at);
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    int& depth_;
  };

  static constexpr int kMostCalls = 1000;  // expressions and bodies within one another

  Flow run_body(const Body& body);
  Flow run_statement(const Statement& statement);
  Flow run_if(const Statement& statement);
  Flow run_for(const Statement& statement, const Value& over, int64_t depth,
               const Closure* closure);
  std::vector<Value> loop_items(const Statement& statement, const Value& over);
  void run_with(const Statement& statement);
  void run_call_block(const Statement& statement);
  const Closure* make_closure(const Macro* macro, const Statement* loop);
  Flow run_inner(const Body& body);
  Text captured(const Body& body);
  Value filtered_block(const Statement& statement);
  void assign(const Expression& target, Value value);
  void assign_attribute(const Expression& target, Value value);
  void print(const Value& value);

  Value evaluate(const Expression& node);
  Value evaluate_kind(const Expression& node);
  Value evaluate_list(const Expression& node);
  Value evaluate_dict(const Expression& node);
  Value evaluate_logic(const Expression& node);
  Value evaluate_compare(const Expression& node);
  Value evaluate_concat(const Expression& node);
  Value evaluate_sign(const Expression& node);
  Value evaluate_slice(const Expression& node);
  Value evaluate_conditional(const Expression& node);
  Value evaluate_filter(const Expression& node);
  Value evaluate_call(const Expression& node, const Value* caller);
  Arguments evaluate_arguments(const Expression& node);

  Value look_up(const std::string& name) const;
  Value call(const Value& callee, const Arguments& arguments, const Value* caller);
  Value call_macro(const Closure& closure, const Arguments& arguments, const Value* caller);
  Value call_loop(const Loop& loop, const Arguments& arguments);
  void bind_macro(const Macro& macro, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);

  [[noreturn]] void fail_at(Position at, const std::string& text) const;

  const Tree& tree_;
  Work& work_;
  std::shared_ptr<Frame> frame_;
  Text out_;
  Value block_;  // what filters of a block are around
  int depth_ = 0;
  std::vector<std::unique_ptr<Namespace>> spaces_;
  std::vector<std::unique_ptr<Closure>> closures_;
};

}  // namespace hypenet::jinja
