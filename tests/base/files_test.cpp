// Files appear whole or not at all.
#include "base/files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

TEST(Files, write_then_read_gives_the_same_bytes) {
  const TemporaryFolder folder;
  const std::string bytes("a\0b\xff\n", 5);
  write_file(folder / "x", bytes);
  EXPECT_EQ(read_file(folder / "x"), bytes);
  write_file(folder / "x", "");
  EXPECT_EQ(read_file(folder / "x"), "");
}

TEST(Files, reading_a_missing_file_or_a_folder_is_an_error) {
  const TemporaryFolder folder;
  EXPECT_ERROR(read_file(folder / "none"),
               (folder / "none").string() + ": cannot open: No such file");
  EXPECT_ERROR(read_file(folder.path()), ": expected a file, found something else");
}

TEST(FileWriter, without_commit_leaves_nothing_and_the_old_file_as_it_was) {
  const TemporaryFolder folder;
  write_file(folder / "x", "old");
  {
    FileWriter writer(folder / "x");
    writer.write("new");
    EXPECT_EQ(read_file(folder / "x"), "old");
  }
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"x"});
}

TEST(FileWriter, commit_puts_all_pieces_in_place) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "x");
  writer.write("one ");
  writer.write("two", 3);
  writer.commit();
  EXPECT_EQ(read_file(folder / "x"), "one two");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"x"});
}

TEST(FileWriter, folder_that_does_not_exist_is_an_error) {
  const TemporaryFolder folder;
  EXPECT_ERROR(FileWriter(folder.path() / "none" / "x"), "x.partial: cannot create: No such file");
}

TEST(FileWriter, full_disk_is_an_error_with_the_systems_reason) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TemporaryFolder folder;
  // The temporary file is opened through this link, so every write finds the disk full.
  fs::create_symlink("/dev/full", folder / "x.partial");
  FileWriter writer(folder / "x");
  EXPECT_ERROR(writer.write("text"),
               (folder / "x").string() + ": cannot write: No space left on device");
}

TEST(FolderWriter, without_commit_leaves_nothing) {
  const TemporaryFolder folder;
  {
    const FolderWriter writer(folder / "out");
    write_file(writer.path() / "x", "new");
  }
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(FolderWriter, commit_replaces_the_older_folder) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "out");
  write_file(folder.path() / "out" / "old", "old");
  FolderWriter writer(folder / "out");
  write_file(writer.path() / "new", "new");
  EXPECT_EQ(names_in(folder / "out"), std::vector<std::string>{"old"});
  writer.commit();
  EXPECT_EQ(names_in(folder / "out"), std::vector<std::string>{"new"});
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"out"});
}

TEST(FolderWriter, leftovers_of_a_killed_run_are_cleared) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "out.partial");
  write_file(folder.path() / "out.partial" / "half", "h");
  FolderWriter writer(folder / "out");
  write_file(writer.path() / "whole", "w");
  writer.commit();
  EXPECT_EQ(names_in(folder / "out"), std::vector<std::string>{"whole"});
}

TEST(MappedFile, shows_the_bytes_of_the_file) {
  const TemporaryFolder folder;
  write_file(folder / "x", "abc");
  const MappedFile file(folder / "x");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file.bytes()[2]), 'c');
  write_file(folder / "empty", "");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
}

TEST(MappedFile, missing_file_is_an_error) {
  const TemporaryFolder folder;
  EXPECT_ERROR(MappedFile(folder / "none"), "none: cannot open: No such file");
}

}  // namespace
}  // namespace hypenet
