// What becomes of documents on their way into a corpus: lines, left out, or kept for the next
// process.
#include "run/corpus_file.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

class CorpusFileTest : public testing::Test {
 protected:
  static Tokenizer byte_tokenizer(const fs::path& folder) {
    testing_support::write_byte_tokenizer(folder);
    return Tokenizer::load(folder);
  }
  CorpusFile open(int64_t most_tokens = 1000, int seed = 0) {
    return {file_, {{"seed", seed}}, most_tokens, tokenizer_};
  }
  TeacherDocument document(int64_t id, const std::string& prompt, const std::string& answer) {
    return {id, tokenizer_.encode(prompt), bytes_of(answer)};
  }
  /// Also of what is no UTF-8.
  static std::vector<int32_t> bytes_of(const std::string& text) {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::vector<Json> lines() const {
    std::vector<Json> found;
    std::istringstream text(read_file(file_));
    for (std::string line; std::getline(text, line);) found.push_back(Json::parse(line));
    return found;
  }

  TemporaryFolder folder_;
  fs::path file_ = folder_ / "corpus.jsonl";
  Tokenizer tokenizer_ = byte_tokenizer(folder_.path());
};

TEST_F(CorpusFileTest, a_line_has_text_prompt_number_and_tokens) {
  CorpusFile corpus = open();
  TeacherDocument first = document(0, "The sun", " is hot");
  first.answer.push_back(256);  // <|endoftext|>
  corpus.add({first, document(1, "A", "\u20AC")});
  corpus.commit({});
  ASSERT_EQ(lines().size(), 2);
  EXPECT_EQ(lines()[0],
            Json({{"text", "The sun is hot"}, {"prompt", "The sun"}, {"id", 0}, {"tokens", 15}}));
  EXPECT_EQ(lines()[1]["text"], "A\u20AC");
  const Json record = read_json(file_.string() + ".json");
  EXPECT_EQ(record["documents"], 2);
  EXPECT_EQ(record["tokens"], 19);
  EXPECT_EQ(record["mean_tokens"], 9.5);
  EXPECT_EQ(record["left_out"], 0);
}

TEST_F(CorpusFileTest, answers_without_text_or_with_broken_characters_are_left_out) {
  CorpusFile corpus = open();
  corpus.add({document(0, "a", ""), document(1, "a", " \n"), document(2, "a", "b\xFFz"),
              document(3, "a", "b\xE2\x82"), document(4, "a", "\xE2\x82")});
  EXPECT_EQ(corpus.documents(), 1);
  EXPECT_EQ(corpus.next_id(), 5);
  corpus.commit({});
  ASSERT_EQ(lines().size(), 1);
  EXPECT_EQ(lines()[0]["text"], "ab");  // the end cut its last character off
  EXPECT_EQ(lines()[0]["id"], 3);
  EXPECT_EQ(read_json(file_.string() + ".json")["left_out"], 4);
}

TEST_F(CorpusFileTest, a_model_that_says_nothing_is_an_error) {
  CorpusFile corpus = open();
  const std::vector<TeacherDocument> nothing(6000, document(0, "a", ""));
  corpus.add(nothing);
  EXPECT_ERROR(corpus.add(nothing), "expected answers with text in UTF-8, found 10000 without");
}

TEST_F(CorpusFileTest, documents_beyond_the_tokens_asked_for_are_left_out) {
  CorpusFile corpus = open(10);
  corpus.add({document(0, "a", "12345"), document(1, "b", "123"), document(2, "c", "1")});
  EXPECT_EQ(corpus.tokens(), 10);
  EXPECT_TRUE(corpus.is_full());
  corpus.commit({});
  EXPECT_EQ(lines().size(), 2);
}

TEST_F(CorpusFileTest, goes_on_where_a_killed_process_ended) {
  {
    CorpusFile corpus = open();
    corpus.add({document(0, "a", "1"), document(1, "b", ""), document(2, "b", "22")});
  }
  EXPECT_FALSE(fs::exists(file_));
  const fs::path journal = file_.string() + ".journal";
  write_file(journal, read_file(journal) + "{\"text\": \"half a li");
  CorpusFile corpus = open();
  EXPECT_EQ(corpus.documents(), 2);
  EXPECT_EQ(corpus.tokens(), 5);
  EXPECT_EQ(corpus.next_id(), 3);
  corpus.add({document(3, "c", "333")});
  corpus.commit({});
  ASSERT_EQ(lines().size(), 3);
  EXPECT_EQ(lines()[1]["id"], 2);
  EXPECT_EQ(lines()[2]["text"], "c333");
  EXPECT_FALSE(fs::exists(journal));
}

TEST_F(CorpusFileTest, settings_that_no_document_has_may_change) {
  const fs::path journal = file_.string() + ".journal";
  { open(); }
  const std::string first = read_file(journal);
  write_file(journal, first + "{\"text\": \"half a li");
  { open(1000, 1).add({document(0, "a", "1")}); }
  EXPECT_FALSE(read_file(journal).starts_with(first));
  EXPECT_ERROR(open(), "made with other settings");
  CorpusFile corpus = open(1000, 1);
  EXPECT_EQ(corpus.documents(), 1);
}

TEST_F(CorpusFileTest, other_settings_and_other_files_are_refused) {
  EXPECT_FALSE(is_corpus_done(file_, {{"seed", 0}}));
  { open().add({document(0, "a", "1")}); }
  EXPECT_ERROR(open(1000, 1), "made with other settings (settings.seed: expected 1, found 0)");
  {
    const CorpusFile corpus = open();
    EXPECT_ERROR(open(), "expected no other process that writes it");
  }
  EXPECT_FALSE(is_corpus_done(file_, {{"seed", 0}}));
  open().commit({{"settings", {{"seed", 0}}}});
  EXPECT_TRUE(is_corpus_done(file_, {{"seed", 0}}));
  EXPECT_ERROR(is_corpus_done(file_, {{"seed", 2}}), "other settings (seed: expected 2, found 0)");
  fs::remove(file_.string() + ".json");
  EXPECT_ERROR(is_corpus_done(file_, {{"seed", 0}}), "found no such file");
  write_file(file_.string() + ".journal", "some notes\n");
  EXPECT_ERROR(open(), ".journal:1: ");
  EXPECT_EQ(read_file(file_.string() + ".journal"), "some notes\n");
}

}  // namespace
}  // namespace hypenet
