// hypenet chat as a person has it: on a terminal, with the keys that are typed there. The model's
// tokens are bytes, so that the number of a prompt's tokens tells how much of a message arrived.
#include "cli/line_editor.h"

#include <gmock/gmock.h>

#include "tests/support/model_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/terminal_program.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing_support::TerminalProgram;

constexpr const char *kUp = "\x1b[A", *kLeft = "\x1b[D", *kAltEnter = "\x1b\r", *kErase = "\x7f",
                     *kInterrupt = "\x03", *kEnd = "\x04";

std::string pasted(const std::string& text) { return "\x1b[200~" + text + "\x1b[201~"; }

class LineEditorTest : public testing::Test {
 protected:
  LineEditorTest() { testing_support::write_byte_model(folder_ / "model"); }

  std::vector<std::string> arguments() const {
    return {"chat", (folder_ / "model").string(), "--template", "none", "--tokens", "1"};
  }

  /// Types a message, which ends with Enter, and expects that so many bytes are read as one.
  static void expect_bytes(TerminalProgram& chat, const std::string& keys, int bytes) {
    ASSERT_TRUE(chat.shows("> ")) << chat.shown();
    chat.type(":reset\r");
    ASSERT_TRUE(chat.shows("> ")) << chat.shown();
    chat.type(keys + "\r");
    ASSERT_TRUE(chat.shows("\x1b[?2004h")) << chat.shown();  // the answer is there
    chat.type(":stats\r");
    // What an earlier message began with is taken over, and told behind the size.
    EXPECT_TRUE(chat.shows(concat("prompt: ", bytes, " tokens"))) << keys << chat.shown();
  }

  TemporaryFolder folder_;
};

TEST_F(LineEditorTest, keys_edit_and_a_message_may_have_several_lines) {
  TerminalProgram chat(arguments());
  expect_bytes(chat, concat("wrld", kLeft, kLeft, kLeft, "o"), 5);
  expect_bytes(chat, concat("\u6f22\u5b57\u00e9", kErase, kErase), 3);
  expect_bytes(chat, pasted("a\r\tbb\rccc\r") + "d", 11);
  expect_bytes(chat, pasted("a\nbb\n"), 4);  // what ends in a line end has no empty line
  expect_bytes(chat, concat("ab", kAltEnter, "cde"), 6);
  expect_bytes(chat, "ab\\\rcdef", 7);
  expect_bytes(chat, concat(kUp, kUp, kUp), 7);  // before :stats and :reset
  expect_bytes(chat, pasted(":quit\r:x"), 8);    // text, and no command
  EXPECT_THAT(chat.shown(), Not(HasSubstr("unknown command")));
  ASSERT_TRUE(chat.shows("> "));
  chat.type(kEnd);
  EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LineEditorTest, ctrl_c_drops_what_was_typed_and_twice_leaves) {
  TerminalProgram chat(arguments());
  ASSERT_TRUE(chat.shows("> "));
  chat.type("half a \\\r");
  ASSERT_TRUE(chat.shows("... "));
  chat.type(kInterrupt);
  EXPECT_TRUE(chat.shows("(Ctrl-C again, or :quit, leaves)")) << chat.shown();
  expect_bytes(chat, "xyz", 3);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(chat.shows("> "));
    chat.type(kInterrupt);
  }
  EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LineEditorTest, a_terminal_that_cannot_move_its_cursor_has_plain_lines) {
  TerminalProgram chat(arguments(), "dumb");
  ASSERT_TRUE(chat.shows("> "));
  chat.type("xyz\n");
  ASSERT_TRUE(chat.shows("> "));
  chat.type(":stats\n");
  EXPECT_TRUE(chat.shows("prompt: 3 tokens in"));
  chat.type(kEnd);
  EXPECT_EQ(chat.wait(), 0);
  EXPECT_THAT(chat.shown(), Not(HasSubstr("\x1b[")));
}

}  // namespace
}  // namespace hypenet
