// Sentences as NLTK 3.9.2 finds them (tests/data/ruler/README.md).
#include "eval/python/sentences.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(HYPENET_TEST_DATA) / "ruler";

std::vector<std::string> split(const SentenceSplitter& splitter, const std::string& text) {
  std::vector<std::string> sentences;
  for (const std::string_view sentence : splitter.split(text)) sentences.emplace_back(sentence);
  return sentences;
}

TEST(SentenceSplitter, sentences_equal_nltk) {
  const SentenceSplitter splitter(PunktParameters::load(kFolder / "punkt_tab" / "english"));
  const Json cases = read_json(kFolder / "sentences.json");
  ASSERT_GT(cases.size(), 10U);
  for (const Json& one : cases) {
    // NLTK is given the text as its sent_tokenize is: as it stands.
    const auto text = one.at("text").get<std::string>();
    EXPECT_EQ(split(splitter, text), one.at("sentences").get<std::vector<std::string>>()) << text;
  }
}

TEST(SentenceSplitter, without_parameters_every_period_before_a_space_ends_a_sentence) {
  const SentenceSplitter splitter{PunktParameters{}};
  EXPECT_EQ(split(splitter, "Mr. Wells met her. (So they say.) Yes"),
            (std::vector<std::string>{"Mr.", "Wells met her.", "(So they say.)", "Yes"}));
  EXPECT_EQ(split(splitter, ""), std::vector<std::string>{});
}

TEST(SentenceSplitter, an_abbreviation_and_a_collocation_end_none) {
  PunktParameters parameters;
  parameters.abbreviations = {"mr"};
  parameters.collocations = {"no\tfive"};
  const SentenceSplitter splitter(parameters);
  EXPECT_EQ(split(splitter, "Mr. Wells is in no. five. He left."),
            (std::vector<std::string>{"Mr. Wells is in no. five.", "He left."}));
}

TEST(PunktParameters, a_missing_file_and_a_malformed_line_are_errors) {
  const TemporaryFolder folder;
  EXPECT_ERROR(PunktParameters::load(folder.path()), "abbrev_types.txt: cannot open");
  for (const char* name : {"abbrev_types.txt", "sent_starters.txt", "collocations.tab"}) {
    write_file(folder / name, "");
  }
  write_file(folder / "ortho_context.tab", "the\t12\nword\n");
  EXPECT_ERROR(PunktParameters::load(folder.path()),
               "ortho_context.tab:2: expected a word, a tab and a number");
}

}  // namespace
}  // namespace hypenet
