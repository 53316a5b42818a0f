// Documents out of every kind of file, and errors that name file and line.
#include "data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;

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
  expect("{\"text\": \"\xff\"}", "expected JSON, found a syntax error at byte 11");
  expect(R"(["text"])", "expected an object, found an array");
  expect(R"({"txt": "one"})", "expected field text, found none");
  expect(R"({"text": 1})", "text: expected a string, found an integer");
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

TEST_F(Documents, paths_without_documents_are_named) {
  EXPECT_ERROR(document_files({folder_ / "none"}),
               "none: expected a file or a folder, found nothing");
  EXPECT_ERROR(document_files({folder_.path()}),
               folder_.path().string() + ": expected files ending in .txt");
  EXPECT_ERROR(document_files({write("a.csv", "")}), "a.csv: expected a file ending in .txt");
}

}  // namespace
}  // namespace hypenet
