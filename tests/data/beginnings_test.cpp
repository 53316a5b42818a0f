#include "data/beginnings.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

class BeginningsTest : public testing::Test {
 protected:
  std::vector<std::string> pieces(const std::string& json_lines, size_t bytes) {
    write_file(folder_ / "text.jsonl", json_lines);
    const Beginnings beginnings({folder_.path()}, "text");
    std::vector<std::string> found;
    for (int64_t i = 0; i < beginnings.size(); ++i) found.emplace_back(beginnings.piece(i, bytes));
    return found;
  }

  TemporaryFolder folder_;
};

TEST_F(BeginningsTest, are_those_of_documents_paragraphs_and_sentences) {
  const auto found = pieces(
      "{\"text\": \"One day. Two nights! three. A\\n\\n a b? No: e.g. the 3.5 U.S\\nlast\"}\n"
      "{\"text\": \"Next\"}\n",
      7);
  EXPECT_THAT(found, ElementsAre("One day", "Two nig", "A\n\n a b", "No: e.g", "last", "Next"));
}

TEST_F(BeginningsTest, pieces_are_whole_characters_and_end_with_the_document) {
  EXPECT_THAT(pieces("{\"text\": \"a\u00E4\u20AC\"}\n{\"text\": \"b\"}\n", 2),
              ElementsAre("a\u00E4", "b"));
  EXPECT_THAT(pieces("{\"text\": \"a\u00E4\u20AC\"}\n{\"text\": \"b\"}\n", 100),
              ElementsAre("a\u00E4\u20AC", "b"));
}

TEST_F(BeginningsTest, must_be_there) {
  EXPECT_ERROR(pieces("{\"text\": \" \\n \"}\n", 5), "expected text, found none");
  EXPECT_ERROR(Beginnings({folder_ / "none"}, "text"), "expected a file or a folder");
}

}  // namespace
}  // namespace hypenet
