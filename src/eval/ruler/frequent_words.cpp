// RULER, frequent words: the most frequent of random words whose frequencies follow Zipf's law.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "eval/python/python_random.h"
#include "eval/ruler/subjects.h"

namespace hypenet {
namespace {

constexpr int64_t kLetters = 6;
constexpr double kZeta2 = 1.6449340668482264;  // pi^2 / 6, the sum of k^-2

class FrequentWordsDraw {
 public:
  FrequentWordsDraw(int64_t length, const TaskOptions& options, std::string name)
      : options_(options),
        name_(std::move(name)),
        length_(length),
        step_(length / 32),
        random_(options.seed) {
    HYPENET_CHECK(length / 50 >= 4, name_, ": expected a length of at least 200, found ", length);
    draw_words();
    words_used_ = max_words();
  }

  RulerSample draw() {
    draw_words();
    int64_t count = words_used_;
    RulerSample sample = with_words(count);
    while (tokens(sample) > length_) {
      count -= step_;
      HYPENET_CHECK(count > 0, name_, ": expected a length that holds a prompt, found ", length_);
      sample = with_words(count);
    }
    return sample;
  }

 private:
  std::string draw_word() {
    std::string word;
    for (int64_t i = 0; i < kLetters; ++i) {
      word += static_cast<char>('a' + static_cast<int>(random_.uniform() * 26));
    }
    return word;
  }

  /// length / 50 different words by rank; the first is noise.
  void draw_words() {
    const int64_t count = length_ / 50;
    std::set<std::string> words;
    for (int64_t drawn = 0; drawn < count || std::ssize(words) < count; ++drawn) {
      words.insert(draw_word());
    }
    words_.assign(words.begin(), words.end());
    PythonRandom(options_.seed).shuffle(words_);
    words_[0] = "...";
  }

  /// The number of words before the first that gives too many tokens.
  int64_t max_words() const {
    int64_t count = length_ / kLetters;
    while (tokens(with_words(count)) < length_) count += step_;
    return count - step_;
  }

  RulerSample with_words(int64_t count) const {
    std::vector<std::string> text;
    for (size_t rank = 1; rank <= words_.size(); ++rank) {
      const double share = std::pow(static_cast<double>(rank), -2.0);
      const auto times = static_cast<size_t>(static_cast<double>(count) * share / kZeta2);
      text.insert(text.end(), times, words_[rank - 1]);
    }
    PythonRandom(options_.seed).shuffle(text);
    RulerSample sample;
    sample.body = concat(
        "Read the following coded text and track the frequency of each coded word. Find the three "
        "most frequently appeared coded words. ",
        join(text, " "),
        "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the "
        "three most frequently appeared words in the above coded text?");
    sample.prefix =
        " Answer: According to the coded text above, the three most frequently appeared words are:";
    sample.references.assign(words_.begin() + 1, words_.begin() + 4);
    return sample;
  }

  int64_t tokens(const RulerSample& sample) const {
    return count_tokens(*options_.tokenizer, sample.prompt());
  }

  const TaskOptions& options_;
  const std::string name_;
  const int64_t length_, step_;
  PythonRandom random_;
  std::vector<std::string> words_;
  int64_t words_used_ = 0;
};

}  // namespace

std::vector<RulerSample> frequent_words_samples(int64_t length, int64_t count,
                                                const TaskOptions& options,
                                                const std::string& name) {
  FrequentWordsDraw draw(length, options, name);
  std::vector<RulerSample> samples;
  samples.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) samples.push_back(draw.draw());
  return samples;
}

}  // namespace hypenet
