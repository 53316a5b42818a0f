// What RULER's prompts are made of beside word lists: essays as sentences, questions with
// documents.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/python/sentences.h"

namespace hypenet {

/// Paul Graham's essays, repeated without end.
class Essays {
 public:
  /// From PaulGrahamEssays.json as RULER writes it, or records with a field `text`; and NLTK's
  /// parameters of Punkt for English. Throws Error of one line that says which file is missing,
  /// where it was looked for and where to get it.
  Essays(const std::vector<std::filesystem::path>& data, const std::string& task);

  /// Words of one round.
  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  /// The sentences of the first `words` words, repeated as often as needed.
  std::vector<std::string> sentences(int64_t words) const;

 private:
  std::string text_;          // words with a space between
  std::vector<size_t> ends_;  // of each word in the text
  SentenceSplitter splitter_;
};

/// A question whose answer stands in some of the documents.
struct DocumentQuestion {
  std::string question = {};
  std::vector<std::string> answers = {};
  std::vector<int64_t> documents = {};  // that hold the answer
  std::vector<int64_t> related = {};    // other documents of the same article
};

struct QuestionSet {
  std::vector<std::string> documents = {};  // each once, in order of code points
  std::vector<DocumentQuestion> questions = {};
};

/// SQuAD's dev set (2.0; 1.1 and what has its layout do too), or its validation records.
QuestionSet read_squad(const std::vector<std::filesystem::path>& data, const std::string& task);

/// HotpotQA's dev set with distractors, or its validation records.
QuestionSet read_hotpot(const std::vector<std::filesystem::path>& data, const std::string& task);

/// RULER's english_words.json, for lists of more words than data/ruler has.
std::vector<std::string> read_english_words(const std::vector<std::filesystem::path>& data,
                                            const std::string& task);

}  // namespace hypenet
