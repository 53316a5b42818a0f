// Journals: kept answers, killed processes, other models.
#include "eval/journal.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

const Json& identity() {
  static const Json kIdentity = {{"config", {{"hidden_size", 32}}}, {"dtype", "float32"}};
  return kIdentity;
}

class JournalTest : public testing::Test {
 protected:
  void write_two() const {
    Journal journal(path(), identity());
    journal.add("a", {.loglikelihood = -1.0 / 3, .is_greedy = true});
    journal.add("b", {.text = "two\nlines \xC3\xA9"});
  }

  std::filesystem::path path() const { return folder_ / "results.json.journal"; }

  TemporaryFolder folder_;
};

TEST_F(JournalTest, answers_come_back_to_the_last_bit) {
  write_two();
  const Journal journal(path(), identity());
  ASSERT_NE(journal.find("a"), nullptr);
  ASSERT_NE(journal.find("b"), nullptr);
  EXPECT_EQ(journal.find("a")->loglikelihood, -1.0 / 3);
  EXPECT_TRUE(journal.find("a")->is_greedy);
  EXPECT_EQ(journal.find("b")->text, "two\nlines \xC3\xA9");
  EXPECT_EQ(journal.find("c"), nullptr);
}

TEST_F(JournalTest, a_torn_last_line_is_cut_off) {
  write_two();
  const std::string whole = read_file(path());
  for (const size_t lost : {1U, 5U, 20U}) {
    write_file(path(), whole.substr(0, whole.size() - lost));
    {
      Journal journal(path(), identity());
      EXPECT_NE(journal.find("a"), nullptr);
      EXPECT_EQ(journal.find("b"), nullptr);
      journal.add("c", {.text = "three"});
    }
    const Journal again(path(), identity());
    EXPECT_NE(again.find("a"), nullptr);
    ASSERT_NE(again.find("c"), nullptr);
    EXPECT_EQ(again.find("c")->text, "three");
  }
}

TEST_F(JournalTest, a_torn_first_line_starts_anew) {
  write_two();
  write_file(path(), read_file(path()).substr(0, 12));
  EXPECT_EQ(Journal(path(), identity()).find("a"), nullptr);
  write_two();
  EXPECT_NE(Journal(path(), identity()).find("b"), nullptr);
}

TEST_F(JournalTest, answers_of_another_model_are_refused) {
  write_two();
  Json other = identity();
  other["config"]["hidden_size"] = 64;
  EXPECT_ERROR(Journal(path(), other),
               "results.json.journal: answers of another model or setting (identity.config."
               "hidden_size: expected 64, found 32)");
  const std::string torn = read_file(path()) + "unfinished";
  write_file(path(), torn);
  EXPECT_ERROR(Journal(path(), other), "answers of another model");
  EXPECT_EQ(read_file(path()), torn);
  EXPECT_NE(Journal(path(), identity()).find("b"), nullptr);
}

TEST_F(JournalTest, a_model_without_answers_makes_room_for_another) {
  { const Journal none(path(), {{"dtype", "bfloat16"}}); }
  write_two();
  EXPECT_NE(Journal(path(), identity()).find("b"), nullptr);
}

TEST_F(JournalTest, files_that_are_no_journals_are_left_alone) {
  for (const std::string text :
       {"my notes", "my notes\n", "{}\n", "[1]\n", "my notes\nunfinished"}) {
    write_file(path(), text);
    EXPECT_ERROR(Journal(path(), identity()), "results.json.journal");
    EXPECT_EQ(read_file(path()), text);
  }
}

TEST_F(JournalTest, broken_lines_in_the_middle_are_named) {
  write_two();
  const std::string whole = read_file(path());
  write_file(path(), whole + "{\"key\": \"x\"}\n");
  EXPECT_ERROR(Journal(path(), identity()), "results.json.journal:4: expected key");
  write_file(path(), whole + "what\n");
  EXPECT_ERROR(Journal(path(), identity()), "results.json.journal:4: expected JSON");
}

TEST_F(JournalTest, only_one_process_writes) {
  const Journal journal(path(), identity());
  EXPECT_ERROR(Journal(path(), identity()), "expected no other process");
}

TEST_F(JournalTest, folders_with_other_weights_differ) {
  testing_support::write_byte_tokenizer(folder_.path());
  write_json(folder_ / "config.json", {{"hidden_size", 32}});
  write_file(folder_ / "model.safetensors", "weights");
  const Json before = folder_identity(folder_.path());
  EXPECT_EQ(before, folder_identity(folder_.path()));
  EXPECT_TRUE(before["files"].contains("tokenizer.json"));
  write_file(folder_ / "model.safetensors", "other weights");
  EXPECT_NE(before, folder_identity(folder_.path()));
}

}  // namespace
}  // namespace hypenet
