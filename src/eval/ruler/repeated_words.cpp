// RULER, common words: the ten words that a numbered list repeats most often.
#include <algorithm>
#include <memory>

#include "eval/python/python_random.h"
#include "eval/ruler/data.h"
#include "eval/ruler/subjects.h"
#include "eval/ruler/words.h"

namespace hypenet {
namespace {

constexpr int64_t kAnswerTokens = 120;
constexpr int64_t kCommon = 10;

/// How often a list repeats its common and its other words.
struct Repeats {
  int64_t common, others;
};

struct WordList {
  std::string text;
  std::vector<std::string> common;
};

class RepeatedWordsDraw {
 public:
  RepeatedWordsDraw(int64_t length, const TaskOptions& options, std::string name)
      : options_(options),
        name_(std::move(name)),
        is_short_(length < 4096),
        random_(options.seed),
        shuffling_(options.seed),
        words_(ruler_words()) {
    shuffling_.shuffle(words_);
  }

  int64_t word_count() const { return std::ssize(words_); }

  RulerSample draw(int64_t size) {
    const WordList example = is_short_ ? list(20, {3, 1}) : list(40, {10, 3});
    const WordList asked = is_short_ ? list(size, {6, 1}) : list(size, {30, 3});
    RulerSample sample;
    sample.prefix = " Answer: The top 10 words that appear most often in the list are:";
    const char* before_answer = options_.ruler_as_harness ? "" : " ";
    sample.lead =
        question(example) + sample.prefix + before_answer + numbered(example.common) + "\n";
    sample.body = question(asked);
    sample.references = asked.common;
    return sample;
  }

 private:
  static std::string question(const WordList& list) {
    return "Below is a numbered list of words. In these words, some appear more often than others. "
           "Memorize the ones that appear most often.\n" +
           list.text + "\nQuestion: What are the 10 most common words in the above list?";
  }

  WordList list(int64_t size, Repeats repeats) {
    if (size > word_count() && english_words_.empty()) {
      english_words_ = read_english_words(options_.data, name_);
    }
    const std::vector<std::string>& pool = size > word_count() ? english_words_ : words_;
    std::vector<std::string> all;
    WordList result;
    for (const int64_t place : random_.sample(std::ssize(pool), size)) {
      all.push_back(pool[static_cast<size_t>(place)]);
    }
    // A size that was lowered often may leave no more than some common words.
    const auto first_other = all.begin() + std::min(kCommon, std::ssize(all));
    result.common.assign(all.begin(), first_other);
    std::vector<std::string> repeated;
    for (int64_t i = 0; i < repeats.common; ++i) {
      repeated.insert(repeated.end(), all.begin(), first_other);
    }
    for (int64_t i = 0; i < repeats.others; ++i) {
      repeated.insert(repeated.end(), first_other, all.end());
    }
    // RULER shuffles every list alike, the harness goes on with one stream.
    if (options_.ruler_as_harness) {
      shuffling_.shuffle(repeated);
    } else {
      PythonRandom(options_.seed).shuffle(repeated);
    }
    result.text = numbered(repeated);
    return result;
  }

  const TaskOptions& options_;
  const std::string name_;
  const bool is_short_;
  PythonRandom random_, shuffling_;
  std::vector<std::string> words_, english_words_;
};

}  // namespace

RulerSubject repeated_words_subject(int64_t length, const TaskOptions& options,
                                    const std::string& name) {
  const auto draw = std::make_shared<RepeatedWordsDraw>(length, options, name);
  RulerSubject subject;
  subject.answer_tokens = kAnswerTokens;
  subject.step = kCommon;
  subject.first_size = 4096;
  subject.growth = 2;
  subject.grows_whole = true;
  subject.draw = [draw](int64_t, int64_t size) { return draw->draw(size); };
  if (!options.ruler_as_harness) return subject;
  subject.most = draw->word_count();
  subject.tokens_in_search = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.prompt() + " " + numbered(sample.references));
  };
  subject.tokens_of_sample = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.body + sample.prefix);
  };
  subject.finish = [](RulerSample& sample) {
    sample.lead.clear();
    sample.prefix.replace(0, 1, "\n\n");
  };
  return subject;
}

}  // namespace hypenet
