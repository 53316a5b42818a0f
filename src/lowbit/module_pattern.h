// Regular expressions over modules' names, as Python's re.match reads them: from the beginning of
// the name, to any place in it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace hypenet {

/// A compiled expression. Copies share it.
class ModulePattern {
 public:
  /// Throws Error, beginning with `place`, for what is no expression.
  ModulePattern(const std::string& expression, std::string place);

  /// Whether the name, or its beginning, matches. Throws Error for an expression that turns back
  /// more than 10,000 times in it.
  bool matches(std::string_view name) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace hypenet
