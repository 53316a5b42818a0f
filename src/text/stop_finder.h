// Strings sought in a text that comes byte by byte (Knuth, Morris, Pratt 1977): a step a byte and
// string, whatever came before.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace hypenet {

class StopFinder {
 public:
  /// Empty strings are ignored.
  explicit StopFinder(std::vector<std::string> stops);

  /// The size of the longest string that ends with this byte; 0: none does.
  size_t push(char byte);

  /// The longest string that the text so far ends with; empty: none.
  std::string found() const;

  /// How many of the last bytes may be the beginning of a string.
  size_t begun() const;

  /// Forgets the text so far.
  void reset();

 private:
  struct Stop {
    std::string text;
    std::vector<size_t> borders;  // [n]: the longest proper beginning of n + 1 bytes that ends them
    size_t matched = 0;           // bytes that the text so far ends with
  };

  static void step(Stop& stop, char byte);

  std::vector<Stop> stops_;
};

}  // namespace hypenet
