// The project's own table of characters, pinned: Unicode 16, as Oniguruma 6.9.10 reads it in the
// Python package `tokenizers` since 0.21.2. No library of the machine has a say in it.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "text/code_set.h"

namespace hypenet {

/// The set of a property by any of its names ("L", "Letter", "Han", "Hani", "White_Space"), read as
/// Oniguruma does: case, spaces, - and _ do not count. Also "[:alpha:]" and its kind, "\\w", "\\s",
/// "\\d" and "\\h". None for another name.
std::optional<CodeSet> named_code_set(std::string_view name);

/// Every character that Unicode 9 had. The `tokenizers` library normalises by that version's
/// tables.
const CodeSet& unicode_9_characters();

/// The set with all characters that (?i) takes for one of its own; only single characters.
CodeSet case_closure(const CodeSet& set);

/// True when the set has a character that (?i) takes for several (U+00DF for "ss").
bool has_long_case_fold(const CodeSet& set);

/// True when (?i) would take letters of the sequence, each given with its cases, for one character.
bool holds_long_case_fold(std::span<const CodeSet> letters);

/// The tables that tools/write_unicode_tables.py writes.
namespace unicode_table {

struct PackedSet {
  std::string_view names;   // with spaces between
  std::string_view ranges;  // for each: how far behind the last one, and how many more than one
};

struct LongFold {
  char32_t code = 0;
  std::u32string_view fold;
};

extern const std::span<const PackedSet> kCategories, kScripts, kBlocks, kProperties;
extern const std::string_view kCaseGroups;
extern const std::span<const LongFold> kLongFolds;

}  // namespace unicode_table
}  // namespace hypenet
