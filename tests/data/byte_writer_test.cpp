#include "data/byte_writer.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "data/byte_reader.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

std::string noise(size_t bytes) {
  Random random(1);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

std::string unpacked(const fs::path& file) {
  ByteReader reader(file, /*compressed=*/true);
  std::string text;
  for (std::string_view piece = reader.next(); !piece.empty(); piece = reader.next()) {
    text.append(piece);
  }
  return text;
}

TEST(ByteWriter, gzip_by_its_name_is_read_back) {
  const TemporaryFolder folder;
  const std::string text = noise(300'000) + std::string(300'000, 'a');
  ByteWriter writer(folder / "x.gz");
  writer.write(text);
  writer.write("");
  writer.write("end");
  writer.commit();
  EXPECT_TRUE(unpacked(folder / "x.gz") == text + "end");
  EXPECT_LT(fs::file_size(folder / "x.gz"), 302'000);
}

TEST(ByteWriter, the_bytes_do_not_depend_on_the_pieces) {
  const TemporaryFolder folder;
  const std::string text = noise(100'000);
  ByteWriter whole(folder / "whole.gz"), cut(folder / "cut.gz");
  whole.write(text);
  for (size_t at = 0; at < text.size(); at += 7) cut.write(std::string_view(text).substr(at, 7));
  whole.commit(), cut.commit();
  EXPECT_TRUE(read_file(folder / "whole.gz") == read_file(folder / "cut.gz"));
}

TEST(ByteWriter, other_names_are_plain_and_nothing_is_there_before_commit) {
  const TemporaryFolder folder;
  {
    ByteWriter lost(folder / "lost.gz");
    lost.write("text");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  ByteWriter writer(folder / "x.jsonl");
  writer.write("text");
  EXPECT_FALSE(fs::exists(folder / "x.jsonl"));
  writer.commit();
  EXPECT_EQ(read_file(folder / "x.jsonl"), "text");
  EXPECT_ERROR(ByteWriter(folder / "none" / "x.gz"), "cannot create");
}

TEST(ByteWriter, checksums_are_crc32) {
  const TemporaryFolder folder;
  write_file(folder / "x", "123456789");
  EXPECT_EQ(file_checksum(folder / "x"), "cbf43926");
  write_file(folder / "x", "");
  EXPECT_EQ(file_checksum(folder / "x"), "00000000");
}

}  // namespace
}  // namespace hypenet
