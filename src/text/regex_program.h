// A regular expression over bytes: one byte for each class of characters that the expression tells
// apart. The engine behind it sees no Unicode, so its version does not matter.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex_tree.h"

namespace hypenet {

/// The class of every character, 0 to 255.
class CharacterClasses {
 public:
  CharacterClasses() = default;
  /// `classes`: of each range of characters, in order, from U+0000 to the last one.
  explicit CharacterClasses(const std::vector<std::pair<CodeRange, uint8_t>>& classes);

  /// Writes one byte a character of a text, which must be valid UTF-8. Returns true when all of its
  /// characters are ASCII.
  bool classify(std::string_view text, std::string& bytes) const;

 private:
  std::vector<uint16_t> pages_;                 // [code / 256]
  std::vector<std::array<uint8_t, 256>> rows_;  // [page][code % 256]
};

struct RegexProgram {
  CharacterClasses classes;
  std::string expression;  // for PCRE2 without UTF
};

/// Throws Error, named by `place`, for an expression that tells more than 256 classes apart.
RegexProgram compile_regex(const RegexNode& tree, std::string_view place);

}  // namespace hypenet
