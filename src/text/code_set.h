// A set of Unicode code points, as sorted ranges.
#pragma once

#include <span>
#include <vector>

namespace hypenet {

constexpr char32_t kLastCode = 0x10FFFF;

struct CodeRange {
  char32_t first = 0, last = 0;  // both belong to it
  bool operator==(const CodeRange&) const = default;
};

class CodeSet {
 public:
  CodeSet() = default;
  CodeSet(std::initializer_list<CodeRange> ranges);

  void add(char32_t first, char32_t last);
  void add(const CodeSet& other);

  bool contains(char32_t code) const;
  bool is_empty() const { return ranges_.empty(); }

  /// Every code point that this set lacks.
  CodeSet complement() const;
  CodeSet intersection(const CodeSet& other) const;

  /// In ascending order, with a gap between each two.
  std::span<const CodeRange> ranges() const { return ranges_; }

  bool operator==(const CodeSet&) const = default;

 private:
  std::vector<CodeRange> ranges_;
};

}  // namespace hypenet
