// Unpacks the sets: numbers of five bits a character, the lowest first, the sixth bit where more
// follow.
#include "text/unicode_table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <string>
#include <vector>

namespace hypenet {

namespace {

using unicode_table::PackedSet;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool at_end() const { return at_ == text_.size(); }

  uint32_t number() {
    uint32_t value = 0;
    for (int shift = 0;; shift += 5) {
      const uint32_t digit = digit_of(text_[at_++]);
      value |= (digit & 31) << shift;
      if (digit < 32) return value;
    }
  }

 private:
  static uint32_t digit_of(char character) {
    const auto code = static_cast<uint32_t>(character);
    if (character >= 'a') return code - 'a' + 26;
    if (character >= 'A') return code - 'A';
    if (character >= '0') return code - '0' + 52;
    return character == '+' ? 62 : 63;
  }

  std::string_view text_;
  size_t at_ = 0;
};

CodeSet unpack(std::string_view ranges) {
  CodeSet set;
  char32_t at = 0;
  for (Reader reader(ranges); !reader.at_end();) {
    const char32_t first = at + reader.number();
    const char32_t last = first + reader.number();
    set.add(first, last);
    at = last + 1;
  }
  return set;
}

/// True when the name stands among the names, which are parted by spaces.
bool has_name(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

std::optional<CodeSet> exact_code_set(std::string_view name) {
  for (const auto& sets : {unicode_table::kCategories, unicode_table::kScripts,
                           unicode_table::kBlocks, unicode_table::kProperties}) {
    for (const PackedSet& set : sets) {
      if (has_name(set.names, name)) return unpack(set.ranges);
    }
  }
  return std::nullopt;
}

/// Groups of characters that differ in case alone.
std::vector<std::vector<char32_t>> case_groups() {
  std::vector<std::vector<char32_t>> groups;
  char32_t first = 0;
  for (Reader reader(unicode_table::kCaseGroups); !reader.at_end();) {
    first += reader.number();
    const uint32_t size = reader.number() + 2;
    std::vector<char32_t> group{first};
    while (group.size() < size) group.push_back(group.back() + reader.number());
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

std::optional<CodeSet> named_code_set(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (plain.empty() || plain.starts_with('=')) return std::nullopt;
  return exact_code_set(plain);
}

const CodeSet& unicode_9_characters() {
  static const CodeSet kSet = exact_code_set("=9").value();
  return kSet;
}

CodeSet case_closure(const CodeSet& set) {
  CodeSet result = set;
  for (const auto& group : case_groups()) {
    const auto is_in = [&](char32_t code) { return set.contains(code); };
    if (!std::any_of(group.begin(), group.end(), is_in)) continue;
    for (const char32_t code : group) result.add(code, code);
  }
  return result;
}

bool has_long_case_fold(const CodeSet& set) {
  return std::any_of(unicode_table::kLongFolds.begin(), unicode_table::kLongFolds.end(),
                     [&](const auto& fold) { return set.contains(fold.code); });
}

bool holds_long_case_fold(std::span<const CodeSet> letters) {
  const auto matches = [](const CodeSet& letter, char32_t code) { return letter.contains(code); };
  return std::any_of(unicode_table::kLongFolds.begin(), unicode_table::kLongFolds.end(),
                     [&](const auto& long_fold) {
                       const auto& fold = long_fold.fold;
                       return std::search(letters.begin(), letters.end(), fold.begin(), fold.end(),
                                          matches) != letters.end();
                     });
}

}  // namespace hypenet
