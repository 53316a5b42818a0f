// Files that are something else than their names say.
#include "base/file_kind.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using std::string_literals::operator""s;

TEST(FileKind, is_told_by_the_first_bytes) {
  const auto expect = [](const std::string& bytes, const std::string& kind) {
    EXPECT_EQ(kind_of_bytes(bytes).substr(0, kind.size()), kind) << bytes;
    EXPECT_EQ(kind_of_bytes(bytes).empty(), kind.empty()) << bytes;
  };
  expect("version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer (run git lfs pull)");
  expect("\n <HTML lang=\"en\">", "an HTML page");
  expect("\xEF\xBB\xBF<!doctype HTML>", "an HTML page");
  expect("<?xml version=\"1.0\"?><Error>", "an XML page");
  expect("\x1F\x8B\x08", "gzip data");
  expect("PK\x03\x04", "a zip archive");
  expect("\x80\x02\x8a\nl\xfc", "a Python pickle");
  expect("GGUF\x03", "a GGUF file");
  expect("PAR1\x15", "a Parquet file");
  expect("{\"a\": 1}", "JSON");
  expect("\x10\0\0\0\0\0\0\0{\"__meta"s, "a safetensors file");
  expect(std::string(257, 'x') + "ustar", "a tar archive");
  expect(std::string(64, '\0'), "zero bytes");
  expect("\xFF\xFE\0"s, "UTF-16 text");
  expect("Some text, and more.", "");
  expect("", "");
}

TEST(FileKind, is_told_by_what_stands_at_the_path) {
  const TemporaryFolder folder;
  EXPECT_EQ(kind_of_file(folder / "none"), "");
  EXPECT_EQ(kind_of_file(folder.path()), "a folder");
  fs::create_symlink("../../blobs/abc", folder / "link");
  EXPECT_EQ(kind_of_file(folder / "link"), "a link to a missing file (../../blobs/abc)");
  write_file(folder / "empty", "");
  EXPECT_EQ(kind_of_file(folder / "empty"), "an empty file");
}

TEST(FileKind, comes_before_a_reader_s_own_error) {
  const TemporaryFolder folder;
  const auto read = [&] {
    return read_as("a Parquet file", "a Parquet file", folder / "a",
                   []() -> int { throw Error("its own error"); });
  };
  write_file(folder / "a", "PAR1 and what is broken");
  EXPECT_ERROR(read(), "its own error");
  write_file(folder / "a", "GGUF");
  EXPECT_ERROR(read(), "a: expected a Parquet file, found a GGUF file (llama.cpp's)");
  EXPECT_EQ(read_as("x", "x", folder / "a", [] { return 3; }), 3) << "good files are not asked";
}

}  // namespace
}  // namespace hypenet
