// A parsed template: statements with expressions in them. Immutable once parsed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/value.h"

namespace hypenet::jinja {

constexpr size_t kMostTemplate = 1 << 20;
constexpr int kMostDepth = 200;  // of expressions and of statements

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum class Kind {
    kConstant,
    kName,
    kList,
    kTuple,
    kDict,       // key, value, key, value ...
    kAttribute,  // a.name
    kItem,       // a[b]
    kSlice,      // a[b:c:d]; null parts are missing
    kNot,
    kNegative,
    kPositive,
    kAnd,
    kOr,
    kBinary,       // name is the operator
    kConcat,       // a ~ b ~ c
    kCompare,      // operators between neighbours
    kConditional,  // condition, then, else (may be null)
    kFilter,       // the input, then arguments
    kTest,
    kCall  // what is called, then arguments
  };
  Kind kind = Kind::kConstant;
  Position at = {};
  std::string name = {};
  Value constant = {};
  std::vector<ExpressionPtr> parts = {};
  std::vector<std::string> operators = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};  // arguments
  const Builtin* builtin = nullptr;
  int height = 1;
};

struct Statement;
struct Macro;
struct Branch;
using Body = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,
    kPrint,
    kIf,
    kFor,
    kSet,
    kSetBlock,
    kMacro,
    kCallBlock,
    kFilterBlock,
    kWith,
    kGroup,  // generation
    kBreak,
    kContinue
  };
  Kind kind = Kind::kText;
  Position at = {};
  Value text = {};
  ExpressionPtr target = {};  // a name, an attribute of a namespace, or a tuple of them
  ExpressionPtr value = {};   // a filter block's, a set block's: the filters around `kName ""`
  ExpressionPtr condition = {};
  std::vector<Branch> branches;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> bindings = {};  // of with
  Body body, otherwise;
  std::shared_ptr<const Macro> macro = {};
  bool is_recursive = false;
};

/// A macro, or what stands in a call block.
struct Macro {
  std::string name;
  std::vector<std::string> parameters = {};
  std::vector<ExpressionPtr> defaults = {};  // of the last parameters
  Body body;
};

struct Branch {
  ExpressionPtr condition;  // null: else
  Body body;
};

struct Tree {
  std::string place;
  Body body;
};

/// Throws Error, see JinjaTemplate::parse.
Tree parse_tree(std::string_view text, const std::string& place);

}  // namespace hypenet::jinja
