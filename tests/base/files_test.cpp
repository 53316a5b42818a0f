// Files appear whole or not at all.
#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <future>

#include "base/file_kind.h"
#include "tests/support/expect_error.h"
#include "tests/support/full_disk.h"
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
  EXPECT_ERROR(read_file(folder.path()), ": expected a file, found a folder");
}

TEST(Files, a_pipe_is_refused_and_not_waited_for) {
  const TemporaryFolder folder;
  const fs::path fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(read_file(fifo), "fifo: expected a file, found a pipe");
  EXPECT_ERROR(MappedFile(fifo), "fifo: expected a file, found a pipe");
  EXPECT_ERROR(check_is_no_stream(fifo), "fifo: expected a file, found a pipe");
  EXPECT_ERROR(read_file("/dev/zero"), "/dev/zero: expected a file, found a device");
}

TEST(Files, a_stream_is_written_into_and_stays_what_it_is) {
  const TemporaryFolder folder;
  const fs::path fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(is_stream(fifo));
  auto read = std::async(std::launch::async, [&] {
    std::string text(64, '\0');
    std::FILE* file = std::fopen(fifo.c_str(), "r");
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    return text;
  });
  write_file(fifo, "one line\n");
  EXPECT_TRUE(fs::is_fifo(fifo));
  // A writer that came under another name would leave the reader waiting.
  if (!fs::is_fifo(fifo)) std::exit(1);
  EXPECT_EQ(read.get(), "one line\n");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"fifo"});
  EXPECT_TRUE(is_stream("/dev/stdout"));
  EXPECT_ERROR(write_file("/dev/full", "text"), "/dev/full: cannot write: No space left on device");
}

TEST(Files, plain_files_and_links_to_them_are_no_streams) {
  const TemporaryFolder folder;
  write_file(folder / "x", "text");
  fs::create_symlink(folder / "x", folder / "link");
  for (const std::string name : {"x", "link", "none"}) EXPECT_FALSE(is_stream(folder / name));
  EXPECT_FALSE(is_stream("x"));
}

TEST(Files, where_nothing_can_be_written_is_told_beforehand) {
  const TemporaryFolder folder;
  check_writable(folder / "x");
  check_writable("x");
  check_writable("/dev/null");
  EXPECT_ERROR(check_writable(folder.path()), ": expected a file, found a folder");
  EXPECT_ERROR(check_writable(folder.path() / "none" / "x"), "none/x: cannot write: No such file");
  EXPECT_TRUE(names_in(folder.path()).empty());
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

TEST(FileWriter, leaves_what_others_call_partial_and_writes_through_links) {
  const TemporaryFolder folder;
  write_file(folder / "x.partial", "a download under way");
  fs::create_directories(folder / "elsewhere");
  write_file(folder.path() / "elsewhere" / "y", "old");
  fs::create_symlink("elsewhere/y", folder / "link");
  write_file(folder / "x", "text");
  write_file(folder / "link", "new");
  EXPECT_EQ(read_file(folder / "x.partial"), "a download under way");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder.path() / "elsewhere" / "y"), "new");
}

TEST(FileWriter, folder_that_does_not_exist_is_an_error) {
  const TemporaryFolder folder;
  EXPECT_ERROR(FileWriter(folder.path() / "none" / "x"),
               "x.hypenet-partial: cannot create: No such file");
}

TEST(FileWriter, devices_and_pipes_stay_what_they_are) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR(FileWriter(folder / "pipe"), "found a device or a pipe");
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
}

TEST(FileWriter, two_writers_of_one_file_are_one_too_many) {
  const TemporaryFolder folder;
  {
    FileWriter first(folder / "x");
    EXPECT_ERROR(FileWriter(folder / "x"), "expected no other process that writes it, found one");
    first.write("first");
    first.commit();
  }
  EXPECT_EQ(read_file(folder / "x"), "first");
}

TEST(FileWriter, a_link_in_the_temporary_place_is_not_written_through) {
  const TemporaryFolder folder;
  write_file(folder / "mine", "precious");
  fs::create_symlink(folder / "mine", folder / "x.hypenet-partial");
  EXPECT_ERROR(FileWriter(folder / "x"), "x.hypenet-partial: cannot create: ");
  EXPECT_EQ(read_file(folder / "mine"), "precious");
}

TEST(FileWriter, what_is_replaced_keeps_its_mode) {
  const TemporaryFolder folder;
  write_file(folder / "x", "old");
  fs::permissions(folder / "x", fs::perms(0600));
  write_file(folder / "x", "new");
  EXPECT_EQ(fs::status(folder / "x").permissions(), fs::perms(0600));
}

TEST(FileWriter, full_disk_is_an_error_with_the_systems_reason) {
  const TemporaryFolder folder;
  {
    FileWriter writer(folder / "x");
    const testing_support::FullDisk full;
    EXPECT_ERROR(writer.write("text"), (folder / "x").string() + ": cannot write: File too large");
  }
  EXPECT_TRUE(names_in(folder.path()).empty());
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
