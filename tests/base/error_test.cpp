// What a file holds may not break an error's line, nor reach a terminal as a command.
#include "base/error.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

TEST(Error, is_one_line_whatever_it_tells_of) {
  EXPECT_STREQ(Error("key \"a\nb\r\tc\"").what(), "key \"a\\nb\\r\\tc\"");
}

TEST(Error, tells_control_characters_by_their_codes) {
  EXPECT_STREQ(Error(std::string("\x1b[31m\x7f \0", 8)).what(), "\\x1b[31m\\x7f \\x00");
}

TEST(Error, leaves_text_beyond_ascii_as_it_is) {
  EXPECT_STREQ(Error("na\u00efve \u4e2d").what(), "na\u00efve \u4e2d");
}

}  // namespace
}  // namespace hypenet
