// Byte order of UTF-8 is the order of code points, which is Python's order of strings.
#include "eval/ruler/words.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "eval/ruler/word_lists.h"

namespace hypenet {
namespace {

std::vector<std::string> sorted_words(std::initializer_list<std::string_view> lists) {
  std::vector<std::string> words;
  for (const std::string_view list : lists) {
    for (size_t begin = 0; begin < list.size();) {
      const size_t end = std::min(list.find('\n', begin), list.size());
      const std::string_view line = list.substr(begin, end - begin);
      words.emplace_back(line.substr(0, line.find_last_not_of(" \r") + 1));
      begin = end + 1;
    }
  }
  std::ranges::sort(words);
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace

std::vector<std::string> ruler_words() {
  return sorted_words({noun_list(), adjective_list(), verb_list()});
}

WordPairs::WordPairs() : nouns_(sorted_words({noun_list()})) {
  // With the hyphen, an adjective that begins others stands right before them.
  std::vector<std::string> starts = sorted_words({adjective_list()});
  for (std::string& start : starts) start += '-';
  std::ranges::sort(starts);
  int64_t end = 0;
  for (size_t i = 0; i < starts.size();) {
    size_t next = i + 1;
    while (next < starts.size() && starts[next].starts_with(starts[i])) ++next;
    Run run;
    if (next == i + 1) {
      run.adjective = starts[i];
      end += std::ssize(nouns_);
    } else {
      for (size_t adjective = i; adjective < next; ++adjective) {
        for (const std::string& noun : nouns_) run.pairs.push_back(starts[adjective] + noun);
      }
      std::ranges::sort(run.pairs);
      run.pairs.erase(std::unique(run.pairs.begin(), run.pairs.end()), run.pairs.end());
      end += std::ssize(run.pairs);
    }
    run.end = end;
    runs_.push_back(std::move(run));
    i = next;
  }
}

std::string WordPairs::at(int64_t place) const {
  const auto run = std::ranges::upper_bound(runs_, place, {}, &Run::end);
  const int64_t begin = run == runs_.begin() ? 0 : std::prev(run)->end;
  const auto within = static_cast<size_t>(place - begin);
  return run->pairs.empty() ? run->adjective + nouns_[within] : run->pairs[within];
}

}  // namespace hypenet
