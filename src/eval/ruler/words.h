// The words that RULER draws: single ones, and pairs "adjective-noun" that are keys of needles.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hypenet {

/// All nouns, adjectives and verbs, each once, in order of code points.
std::vector<std::string> ruler_words();

/// Every "adjective-noun", each once, in order of code points: six million, which are not stored.
class WordPairs {
 public:
  WordPairs();

  int64_t size() const { return runs_.back().end; }
  std::string at(int64_t place) const;

 private:
  /// Neighbours in the order: one adjective with every noun, or the pairs of several adjectives of
  /// which one begins another ("blue" and "blue-eyed").
  struct Run {
    std::string adjective = {};
    std::vector<std::string> pairs = {};  // instead of an adjective
    int64_t end = 0;                      // place after the last
  };

  std::vector<std::string> nouns_;
  std::vector<Run> runs_;
};

}  // namespace hypenet
