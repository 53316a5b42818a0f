// Text into sentences by the Punkt algorithm (Kiss and Strunk 2006, "Unsupervised Multilingual
// Sentence Boundary Detection"), with the rules and the trained parameters of NLTK 3.9.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hypenet {

/// What Punkt has learnt of a language. Words are in lower case, without a final period.
struct PunktParameters {
  std::unordered_set<std::string> abbreviations = {};
  std::unordered_set<std::string> collocations = {};  // "first\tsecond": no sentence ends between
  std::unordered_set<std::string> sentence_starters = {};
  std::unordered_map<std::string, int> orthography = {};  // of a word: bits as NLTK numbers them

  /// Reads abbrev_types.txt, collocations.tab, sent_starters.txt and ortho_context.tab of a folder
  /// punkt_tab/<language>. Throws Error naming the file and line.
  static PunktParameters load(const std::filesystem::path& folder);
};

/// Equal to NLTK's PunktSentenceTokenizer.tokenize, but for numbers in other digits than 0 to 9.
/// Immutable, so it may be shared between threads.
class SentenceSplitter {
 public:
  explicit SentenceSplitter(PunktParameters parameters) : parameters_(std::move(parameters)) {}

  /// The sentences as pieces of `text` (UTF-8), without the white space between them.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Token;
  enum class Starts { kYes, kNo, kUnknown };

  bool has_break_inside(std::string_view context) const;
  Token classify_alone(std::string_view text) const;
  void classify_by_next(Token& token, const Token& next) const;
  Starts starts_sentence(const Token& token) const;
  int orthography(const std::string& word) const;

  PunktParameters parameters_;
};

}  // namespace hypenet
