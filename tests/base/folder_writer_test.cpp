// Folders appear whole or not at all, and what others wrote stays.
#include "base/folder_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;

using Names = std::vector<std::string>;

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

const FolderKind kKind = {"an earlier thing", "mark.json", {"part-*.bin"}};

class FolderWriterTest : public testing::Test {
 protected:
  /// Leaves a folder of the kind.
  static void write(const fs::path& target, const std::string& part = "part-0.bin") {
    FolderWriter writer(target, kKind);
    write_file(writer.path() / part, "text");
    write_file(writer.path() / "mark.json", "{}");
    writer.commit();
  }
  void expect_refused(const fs::path& target, const std::string& found) const {
    const std::string text = "expected a new or empty folder, or an earlier thing, found " + found;
    EXPECT_ERROR(check_folder(target, kKind), text);
    EXPECT_ERROR(FolderWriter(target, kKind), text);
    EXPECT_ERROR(remove_folder(target, kKind), text);
  }

  TemporaryFolder folder_;
};

TEST_F(FolderWriterTest, without_commit_leaves_nothing) {
  {
    const FolderWriter writer(folder_ / "out", kKind);
    write_file(writer.path() / "mark.json", "new");
  }
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(FolderWriterTest, new_empty_and_earlier_folders_are_written) {
  write(folder_ / "new");
  fs::create_directories(folder_ / "empty");
  write(folder_ / "empty");
  write(folder_ / "new", "part-1.bin");
  EXPECT_EQ(names_in(folder_ / "new"), (Names{"mark.json", "part-1.bin"}));
  EXPECT_EQ(names_in(folder_ / "empty"), (Names{"mark.json", "part-0.bin"}));
  EXPECT_EQ(names_in(folder_.path()), (Names{"empty", "new"}));
}

TEST_F(FolderWriterTest, the_earlier_folder_stays_until_commit) {
  write(folder_ / "out");
  FolderWriter writer(folder_ / "out", kKind);
  write_file(writer.path() / "mark.json", "new");
  EXPECT_EQ(names_in(folder_ / "out"), (Names{"mark.json", "part-0.bin"}));
  writer.commit();
  EXPECT_EQ(names_in(folder_ / "out"), (Names{"mark.json"}));
}

TEST_F(FolderWriterTest, a_slash_at_the_end_does_not_matter) {
  write(folder_.path() / "out" / "");
  write(folder_.path() / "out" / "", "part-1.bin");
  write(folder_.path() / "none" / ".." / "out" / ".", "part-2.bin");
  EXPECT_EQ(names_in(folder_ / "out"), (Names{"mark.json", "part-2.bin"}));
  EXPECT_EQ(names_in(folder_.path()), (Names{"out"}));
}

TEST_F(FolderWriterTest, what_others_wrote_is_refused_and_stays) {
  fs::create_directories(folder_ / "texts");
  write_file(folder_.path() / "texts" / "a.txt", "mine");
  expect_refused(folder_ / "texts", "one that holds a.txt");
  expect_refused(folder_.path() / "texts" / "", "one that holds a.txt");

  write(folder_ / "out");
  write_file(folder_.path() / "out" / "notes.txt", "mine");
  expect_refused(folder_ / "out", "one that holds notes.txt");
  fs::remove(folder_.path() / "out" / "notes.txt");
  write_file(folder_.path() / "out" / ".hidden", "mine");
  expect_refused(folder_ / "out", "one that holds .hidden");
  fs::remove(folder_.path() / "out" / ".hidden");
  fs::create_directories(folder_.path() / "out" / "part-7.bin");
  expect_refused(folder_ / "out", "one that holds part-7.bin");

  fs::create_directories(folder_ / "other");
  write_file(folder_.path() / "other" / "part-0.bin", "somebody's parts");
  expect_refused(folder_ / "other", "one without mark.json");
  write_file(folder_ / "file", "mine");
  expect_refused(folder_ / "file", "a file");
  EXPECT_EQ(names_in(folder_.path()), (Names{"file", "other", "out", "texts"}));
  EXPECT_EQ(read_file(folder_.path() / "texts" / "a.txt"), "mine");
}

TEST_F(FolderWriterTest, what_came_while_it_was_written_stays_and_so_does_the_work) {
  write(folder_ / "out");
  FolderWriter writer(folder_ / "out", kKind);
  write_file(writer.path() / "mark.json", "new");
  write_file(folder_.path() / "out" / "notes.txt", "mine");
  EXPECT_ERROR(writer.commit(), "found one that holds notes.txt; what was to be written is in ");
  EXPECT_EQ(read_file(folder_.path() / "out" / "notes.txt"), "mine");
  EXPECT_EQ(read_file(writer.path() / "mark.json"), "new");
}

TEST_F(FolderWriterTest, the_folder_that_it_runs_in_and_those_around_it_are_refused) {
  const fs::path before = fs::current_path();
  fs::create_directories(folder_.path() / "a" / "b");
  fs::current_path(folder_.path() / "a" / "b");
  const std::string found = "the folder that this runs in";
  expect_refused(".", found);
  expect_refused("./", found);
  expect_refused("..", found);
  expect_refused("../..", found);
  expect_refused("../b", found);
  write("inside");
  fs::current_path(before);
  EXPECT_EQ(names_in(folder_.path() / "a" / "b"), (Names{"inside"}));
  EXPECT_EQ(names_in(folder_.path()), (Names{"a"}));
}

TEST_F(FolderWriterTest, a_link_stands_for_its_folder) {
  fs::create_directories(folder_ / "elsewhere");
  fs::create_directory_symlink("elsewhere", folder_ / "link");
  write(folder_ / "link");
  write(folder_.path() / "link" / "", "part-1.bin");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(names_in(folder_ / "elsewhere"), (Names{"mark.json", "part-1.bin"}));
  write_file(folder_.path() / "elsewhere" / "notes.txt", "mine");
  expect_refused(folder_ / "link", "one that holds notes.txt");
  fs::create_directory_symlink("nowhere", folder_ / "dangling");
  expect_refused(folder_ / "dangling", "a link to nothing");
}

TEST_F(FolderWriterTest, mount_points_are_refused) {
  expect_refused("/proc", "a mount point");
  expect_refused("/", "the folder that this runs in");
}

TEST_F(FolderWriterTest, a_full_disk_leaves_the_earlier_folder) {
  write(folder_ / "out");
  {
    FolderWriter writer(folder_ / "out", kKind);
    write_file(writer.path() / "mark.json", "new");
    const testing_support::FullDisk full;
    EXPECT_ERROR(write_file(writer.path() / "part-9.bin", "text"), "part-9.bin: cannot write: ");
  }
  EXPECT_EQ(names_in(folder_ / "out"), (Names{"mark.json", "part-0.bin"}));
  EXPECT_EQ(names_in(folder_.path()), (Names{"out"}));
}

TEST_F(FolderWriterTest, a_folder_that_cannot_be_made_is_told_before_any_work) {
  write_file(folder_ / "file", "mine");
  EXPECT_ERROR(FolderWriter(folder_.path() / "file" / "out", kKind), "Not a directory");
  EXPECT_ERROR(FolderWriter("", kKind), "expected the name of a folder, found none");
}

TEST_F(FolderWriterTest, leftovers_of_a_killed_run_are_cleared_and_folders_called_partial_stay) {
  fs::create_directories(folder_ / "out.hypenet-partial");
  for (const char* file : {"part-7.bin", "mark.json.hypenet-partial"})
    write_file(folder_.path() / "out.hypenet-partial" / file, "h");
  fs::create_directories(folder_ / "out.partial");
  write_file(folder_.path() / "out.partial" / "download", "mine");
  write(folder_ / "out");
  EXPECT_EQ(names_in(folder_ / "out"), (Names{"mark.json", "part-0.bin"}));
  EXPECT_EQ(names_in(folder_.path()), (Names{"out", "out.partial"}));
}

TEST_F(FolderWriterTest, what_another_hand_put_into_the_temporary_place_stays) {
  fs::create_directories(folder_ / "out.hypenet-partial/mine");
  EXPECT_ERROR(write(folder_ / "out"), "expected what an interrupted run left there, found mine");
  EXPECT_TRUE(fs::exists(folder_ / "out.hypenet-partial/mine"));
}

TEST_F(FolderWriterTest, what_is_replaced_keeps_its_mode) {
  write(folder_ / "out");
  fs::permissions(folder_ / "out", fs::perms(0700));
  write(folder_ / "out");
  EXPECT_EQ(fs::status(folder_ / "out").permissions(), fs::perms(0700));
}

TEST_F(FolderWriterTest, two_writers_of_one_folder_are_one_too_many) {
  const FolderWriter first(folder_ / "out", kKind);
  write_file(first.path() / "mark.json", "{}");
  EXPECT_ERROR(FolderWriter(folder_ / "out", kKind), "expected no other process that writes it");
  EXPECT_EQ(read_file(first.path() / "mark.json"), "{}");
}

}  // namespace
}  // namespace hypenet
