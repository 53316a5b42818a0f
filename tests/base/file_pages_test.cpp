// Bytes of a mapping are the file's whether their pages were given back or not.
#include "base/file_pages.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(FilePages, what_was_given_back_is_read_again) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40000; ++i) text += static_cast<char>(i * 7 % 251);
  write_file(folder / "f", text);
  const MappedFile file(folder / "f");
  const auto is_file = [&] {
    return std::string_view(reinterpret_cast<const char*>(file.bytes().data()), text.size()) ==
           text;
  };
  EXPECT_TRUE(is_file());
  release_file_pages(file.bytes().subspan(100, 30000));
  EXPECT_TRUE(is_file());
  release_file_pages(file.bytes().subspan(10, 20));  // no whole page
  release_file_pages({});
  EXPECT_TRUE(is_file());
}

}  // namespace
}  // namespace hypenet
