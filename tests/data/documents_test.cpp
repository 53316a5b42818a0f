// Documents out of every kind of file, and errors that name file and line.
#include "data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path kFixtures = HYPENET_TEST_DATA "/documents";

std::vector<std::string> documents(const fs::path& file, const std::string& field = "text") {
  std::vector<std::string> texts;
  for_each_document(file, field, [&](std::string_view text) {
    texts.emplace_back(text);
    return true;
  });
  return texts;
}

fs::path write_gzip(const fs::path& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return path;
}

class Documents : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& bytes) {
    write_file(folder_ / name, bytes);
    return folder_ / name;
  }

  TemporaryFolder folder_;
};

TEST_F(Documents, a_text_file_is_one_document) {
  const std::string bytes = "first\r\n\nsecond \xff\n";
  EXPECT_THAT(documents(write("a.txt", bytes)), ElementsAre(bytes));
  EXPECT_THAT(documents(write_gzip(folder_ / "a.txt.gz", bytes)), ElementsAre(bytes));
}

TEST_F(Documents, json_lines_are_one_document_each) {
  const std::string lines =
      "{\"text\": \"one\\n\\u00e9\"}\n\n{\"id\": 2, \"text\": \"two\"}\r\n  \n{\"text\": \"\"}";
  EXPECT_THAT(documents(write("a.jsonl", lines)), ElementsAre("one\né", "two", ""));
  EXPECT_THAT(documents(write_gzip(folder_ / "a.jsonl.gz", lines)),
              ElementsAre("one\né", "two", ""));
}

TEST_F(Documents, the_text_field_can_be_chosen) {
  EXPECT_THAT(documents(write("a.jsonl", R"({"text": "no", "content": "yes"})"), "content"),
              ElementsAre("yes"));
}

TEST_F(Documents, lines_longer_than_the_buffer_are_whole) {
  const std::string lengthy(700000, 'x');
  const std::string lines = R"({"text": ")" + lengthy + "\"}\n" + R"({"text": "end"})" + "\n";
  EXPECT_THAT(documents(write("a.jsonl", lines)), ElementsAre(lengthy, "end"));
  EXPECT_THAT(documents(write_gzip(folder_ / "a.jsonl.gz", lines)), ElementsAre(lengthy, "end"));
}

TEST_F(Documents, reading_stops_when_told_to) {
  // The broken second line is never reached.
  const fs::path file = write("a.jsonl", "{\"text\": \"one\"}\nbroken\n");
  int seen = 0;
  for_each_document(file, "text", [&](std::string_view) { return ++seen < 1; });
  EXPECT_EQ(seen, 1);
}

TEST_F(Documents, broken_lines_are_named_by_number) {
  const auto expect = [&](const std::string& line, const std::string& text) {
    const fs::path file = write("a.jsonl", "{\"text\": \"one\"}\n\n" + line + "\n");
    EXPECT_ERROR(documents(file), file.string() + ":3: " + text);
  };
  expect(R"({"text": )", "expected JSON, found a syntax error at byte 10");
  expect("{\"text\": \"\xff\"}", "expected JSON, found bytes that are no UTF-8 at byte 11");
  expect(R"({"text":"a\ud83d b"})", "expected JSON, found a lone surrogate at byte 17");
  expect(std::string("{\"text\":\"one\"}\0\0{\"text\":\"two\"}", 31),
         "expected JSON, found a NUL byte at byte 15");
  expect(R"(["text"])", "expected an object, found an array");
  expect(R"({"txt": "one", "id": 2})", "expected field text, found none; there are: txt, id");
  expect(R"({"text": null})", "text: expected a string, found null");
  expect(R"({"text": 1})", "text: expected a string, found an integer");
}

TEST_F(Documents, bad_ones_are_left_out_and_counted) {
  const std::string good = R"({"text": "one"})"
                           "\n";
  const fs::path file = write("a.jsonl", good + "{\"text\":\"a\\ud83d b\"}\n" + good +
                                             "{\"text\": null}\n{\"text\":\"\\ude00\"}\n[]\n{}\n");
  BadDocuments bad;
  std::vector<std::string> texts;
  for_each_document(file, "text", bad, [&](std::string_view text) {
    texts.emplace_back(text);
    return true;
  });
  EXPECT_THAT(texts, ElementsAre("one", "one"));
  EXPECT_EQ(bad.good(), 2);
  EXPECT_EQ(bad.bad(), 5);
  EXPECT_THAT(bad.summary(),
              AllOf(HasSubstr("warning: 5 of 7 documents left out: "),
                    HasSubstr("2 for a lone surrogate (first: " + file.string() + ":2: expected"),
                    HasSubstr("1 for no field text"), HasSubstr("1 for no object"),
                    HasSubstr("1 for null instead of a string")));
  EXPECT_EQ(bad.to_json()["a lone surrogate"]["documents"], 2);
  EXPECT_NO_THROW(bad.check_some_are_good());
}

TEST_F(Documents, bad_ones_alone_are_an_error_that_names_the_first) {
  BadDocuments bad;
  const auto use = [](std::string_view) { return true; };
  for_each_document(write("a.jsonl", "{\"body\": \"x\"}\n{\"body\": \"y\"}\n"), "text", bad, use);
  EXPECT_ERROR(bad.check_some_are_good(),
               "a.jsonl:1: expected field text, found none; there are: body (so are all 2");
}

TEST(BadDocuments, are_warned_of_above_one_in_a_thousand) {
  BadDocuments bad;
  for (int i = 0; i < 999; ++i) bad.add_good();
  EXPECT_EQ(bad.summary(), "");
  bad.add_bad("null", "a:1: null");
  EXPECT_EQ(bad.summary(), "1 of 1000 documents left out: 1 for null (first: a:1: null)");
  bad.add_bad("null", "a:2: null");
  EXPECT_EQ(bad.summary(), "warning: 2 of 1001 documents left out: 2 for null (first: a:1: null)");
  BadDocuments none(OnBadDocument::kFail);
  EXPECT_ERROR(none.add_bad("null", "a:1: null"), "a:1: null");
  EXPECT_ERROR(parse_on_bad_document("stop", "x"), "x: expected fail or skip, found \"stop\"");
}

TEST_F(Documents, files_that_are_something_else_are_no_bad_documents) {
  const auto expect = [&](const std::string& name, const std::string& bytes,
                          const std::string& text) {
    BadDocuments bad;
    EXPECT_ERROR(
        for_each_document(write(name, bytes), "text", bad, [](std::string_view) { return true; }),
        name + ": expected " + text);
  };
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\n";
  for (const char* name : {"a.jsonl", "a.txt", "a.txt.gz", "a.jsonl.gz"}) {
    expect(name, pointer,
           (std::string(name).ends_with("gz")    ? "gzip data"
            : std::string(name).ends_with("txt") ? "text in UTF-8"
                                                 : "JSON lines") +
               std::string(", found a Git LFS pointer (run git lfs pull)"));
  }
  expect("a.jsonl", "<!DOCTYPE html>\n", "JSON lines, found an HTML page");
  expect("a.jsonl", "[\n{}\n]", "JSON lines, found a JSON array (write one object a line)");
  expect("a.jsonl", "[{\"text\": \"a\"}]", "JSON lines, found a JSON array");
  expect("a.jsonl", "{\n\"text\": \"a\"}", "JSON lines, found an object over several lines");
  expect("a.txt",
         std::string("\xFF\xFE"
                     "a\0",
                     4),
         "text in UTF-8, found UTF-16 text");
  expect("a.txt.gz", "", "gzip data, found an empty file");
  if (has_parquet()) expect("a.parquet", pointer, "a Parquet file, found a Git LFS pointer");
  EXPECT_THAT(documents(write("b.txt", "<html> and {text} alike")), ElementsAre(testing::_));
}

TEST_F(Documents, pipes_are_refused_and_not_waited_for) {
  for (const char* name : {"a.txt", "a.jsonl", "a.jsonl.gz", "a.parquet"}) {
    ASSERT_EQ(::mkfifo((folder_ / name).c_str(), 0600), 0);
    EXPECT_ERROR(documents(folder_ / name), concat(name, ": expected a file, found a pipe"));
  }
}

TEST_F(Documents, a_byte_order_mark_is_no_text) {
  EXPECT_THAT(documents(write("a.txt", "\xEF\xBB\xBFone")), ElementsAre("one"));
  EXPECT_THAT(documents(write("a.jsonl", "\xEF\xBB\xBF{\"text\": \"one\"}")), ElementsAre("one"));
}

TEST_F(Documents, broken_gzip_files_are_named) {
  const fs::path file =
      write_gzip(folder_ / "a.jsonl.gz", std::string(100000, ' ') + R"({"text": "one"})");
  fs::resize_file(file, fs::file_size(file) - 12);
  EXPECT_ERROR(documents(file), file.string() + ": expected readable data to the end, found: ");
  EXPECT_ERROR(documents(write("b.txt.gz", "plain")), "b.txt.gz: expected gzip data, found none");
  std::string bytes = read_file(write_gzip(folder_ / "c.txt.gz", "some text to be broken"));
  bytes[12] ^= 0x55;
  EXPECT_ERROR(documents(write("c.txt.gz", bytes)),
               "c.txt.gz: expected readable data to the end, found: ");
}

TEST_F(Documents, files_that_cannot_be_read_are_named) {
  EXPECT_ERROR(documents(folder_ / "none.txt"), "none.txt: cannot open: No such file");
  EXPECT_ERROR(documents(write("a.csv", "")), "a.csv: expected a file ending in .txt, .jsonl");
}

TEST_F(Documents, parquet_rows_are_one_document_each) {
  if (!has_parquet()) GTEST_SKIP() << "built without Parquet";
  EXPECT_THAT(documents(kFixtures / "good.parquet"), ElementsAre("one", "zwei é", "line\nthree"));
  EXPECT_THAT(documents(kFixtures / "large.parquet"), ElementsAre("one", "two"));
}

TEST_F(Documents, parquet_strings_of_every_type_are_read) {
  if (!has_parquet()) GTEST_SKIP() << "built without Parquet";
  EXPECT_THAT(documents(kFixtures / "dictionary.parquet"), ElementsAre("one", "two"));
  for (const char* column : {"text", "large", "view", "bytes"}) {
    BadDocuments bad;
    std::vector<std::string> texts;
    for_each_document(kFixtures / "strings.parquet", column, bad, [&](std::string_view text) {
      texts.emplace_back(text);
      return true;
    });
    EXPECT_THAT(texts, ElementsAre("one", "zwei é", "one")) << column;
    EXPECT_EQ(bad.bad(), 1) << column;
  }
}

TEST_F(Documents, parquet_columns_that_are_no_strings_are_named_with_the_others) {
  if (!has_parquet()) GTEST_SKIP() << "built without Parquet";
  const fs::path nested = kFixtures / "nested.parquet";
  const std::string columns =
      "; the columns are: text struct<body: string, id: int64>, lines list<element: string>, title";
  EXPECT_ERROR(
      documents(nested),
      "nested.parquet: text: expected strings, found struct<body: string, id: int64>" + columns);
  EXPECT_ERROR(documents(nested, "lines"), "lines: expected strings, found list<element: string>");
  EXPECT_ERROR(documents(nested, "text.body"),
               "expected a column text.body, found none of that name" + columns);
  EXPECT_THAT(documents(nested, "title"), ElementsAre("x"));
}

TEST_F(Documents, parquet_stops_when_told_to) {
  if (!has_parquet()) GTEST_SKIP() << "built without Parquet";
  int seen = 0;
  for_each_document(kFixtures / "good.parquet", "text",
                    [&](std::string_view) { return ++seen < 2; });
  EXPECT_EQ(seen, 2);
}

TEST_F(Documents, broken_parquet_files_are_named) {
  if (!has_parquet()) GTEST_SKIP() << "built without Parquet";
  EXPECT_ERROR(documents(kFixtures / "null.parquet"),
               "null.parquet: text, row 3: expected a string, found null");
  EXPECT_ERROR(documents(kFixtures / "numbers.parquet"),
               "numbers.parquet: text: expected strings, found int64");
  EXPECT_ERROR(documents(kFixtures / "good.parquet", "body"),
               "good.parquet: expected a column body, found none");
  EXPECT_ERROR(documents(write("a.parquet", "not Parquet")), "a.parquet: cannot read as Parquet: ");
  EXPECT_ERROR(documents(folder_ / "none.parquet"), "none.parquet: cannot read as Parquet: ");
}

TEST_F(Documents, a_build_without_parquet_says_so) {
  if (has_parquet()) GTEST_SKIP() << "built with Parquet";
  EXPECT_ERROR(documents(kFixtures / "good.parquet"),
               "good.parquet: expected a build that reads Parquet");
}

TEST_F(Documents, folders_are_walked_in_sorted_order) {
  fs::create_directories(folder_.path() / "b");
  write("c.txt", "");
  write("b/z.jsonl", "");
  write("b/a.txt.gz", "");
  write("README.md", "");
  EXPECT_THAT(document_files({folder_.path()}),
              ElementsAre(folder_ / "b/a.txt.gz", folder_ / "b/z.jsonl", folder_ / "c.txt"));
  EXPECT_THAT(document_files({folder_ / "c.txt", folder_ / "b"}),
              ElementsAre(folder_ / "c.txt", folder_ / "b/a.txt.gz", folder_ / "b/z.jsonl"));
}

TEST_F(Documents, links_to_folders_are_followed_once) {
  fs::create_directories(folder_ / "data/b");
  fs::create_directories(folder_ / "elsewhere");
  write("data/b/1.txt", "");
  write("elsewhere/2.txt", "");
  fs::create_directory_symlink("../elsewhere", folder_ / "data/c");
  fs::create_directory_symlink("../../elsewhere", folder_ / "data/b/again");
  fs::create_directory_symlink("..", folder_ / "data/b/circle");
  EXPECT_THAT(document_files({folder_ / "data"}),
              ElementsAre(folder_ / "data/b/1.txt", folder_ / "data/b/again/2.txt"));
  fs::create_directory_symlink("data", folder_ / "link");
  EXPECT_EQ(document_files({folder_ / "link"}).size(), 2u);
}

TEST_F(Documents, files_left_alone_are_told_by_ending) {
  std::vector<std::string> notes;
  const auto tell = [&](const std::string& text) { notes.push_back(text); };
  write("a.txt", "");
  document_files({folder_.path()}, tell);
  EXPECT_TRUE(notes.empty());
  for (const char* name : {"b.csv", "README.md", "c.md", ".gitattributes", "d.json.gz", "LICENSE"})
    write(name, "");
  fs::create_symlink("none", folder_ / "gone.md");
  EXPECT_THAT(document_files({folder_.path()}, tell), ElementsAre(folder_ / "a.txt"));
  EXPECT_THAT(notes, ElementsAre(folder_.path().string() +
                                 ": 7 files left alone: .md 2, .csv 1, .json.gz 1, hidden 1, "
                                 "link to a missing file 1, no ending 1"));
  fs::remove(folder_ / "a.txt");
  EXPECT_ERROR(document_files({folder_.path()}),
               "or .parquet, found none; 7 files left alone: .md 2");
}

TEST_F(Documents, a_link_to_a_missing_document_is_an_error) {
  write("a.txt", "");
  fs::create_symlink("../blobs/1", folder_ / "b.jsonl");
  EXPECT_ERROR(document_files({folder_.path()}),
               "b.jsonl: expected a file, found a link to a missing file (../blobs/1)");
  EXPECT_ERROR(document_files({folder_ / "b.jsonl"}),
               "expected a file or a folder, found a link to a missing file (../blobs/1)");
}

TEST_F(Documents, paths_without_documents_are_named) {
  EXPECT_ERROR(document_files({folder_ / "none"}),
               "none: expected a file or a folder, found nothing");
  EXPECT_ERROR(document_files({folder_.path()}),
               folder_.path().string() + ": expected files ending in .txt");
  EXPECT_ERROR(document_files({write("a.csv", "")}), "a.csv: expected a file ending in .txt");
}

}  // namespace
}  // namespace hypenet
