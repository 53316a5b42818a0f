// Prompts a line, as text and as JSON.
#include "cli/prompts.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;

TEST(Prompts, a_line_is_a_prompt) {
  EXPECT_THAT(prompts_of_lines("a\r\n{b}\nc", "p", false), ElementsAre("a", "{b}", "c"));
  EXPECT_THAT(prompts_of_lines("\xEF\xBB\xBF"
                               "a\n",
                               "p", false),
              ElementsAre("a"));
  EXPECT_ERROR(prompts_of_lines("a\n\nb", "p", false),
               "p:2: expected a prompt, found an empty line");
  EXPECT_ERROR(prompts_of_lines("", "p", false), "p: expected a prompt a line, found none");
}

TEST(Prompts, json_lines_hold_text_of_several_lines) {
  EXPECT_THAT(prompts_of_lines(R"({"prompt": "a\nb", "id": 7})"
                               "\n"
                               R"({"prompt": " c"})"
                               "\r\n",
                               "p", true),
              ElementsAre("a\nb", " c"));
  EXPECT_ERROR(prompts_of_lines("{\"prompt\": \"a\"}\n{\"text\": \"b\"}", "p.jsonl", true),
               "p.jsonl:2: expected a text prompt, found none");
  EXPECT_ERROR(prompts_of_lines("{\"prompt\": 3}", "p", true),
               "p:1: prompt: expected a string, found an integer");
  EXPECT_ERROR(prompts_of_lines("{\"prompt\": \"\"}", "p", true),
               "p:1: prompt: expected some text, found none");
  EXPECT_ERROR(prompts_of_lines("\"a\"", "p", true), "p:1: expected an object with a text prompt");
  EXPECT_ERROR(prompts_of_lines("{\"prompt\"", "p", true), "p:1: expected JSON");
}

TEST(Prompts, the_ending_of_a_file_says_which) {
  const TemporaryFolder folder;
  write_file(folder / "p.jsonl", "{\"prompt\": \"a\"}\n");
  write_file(folder / "p.txt", "{\"prompt\": \"a\"}\n");
  EXPECT_THAT(read_prompt_lines(folder / "p.jsonl"), ElementsAre("a"));
  EXPECT_THAT(read_prompt_lines(folder / "p.txt"), ElementsAre("{\"prompt\": \"a\"}"));
}

}  // namespace
}  // namespace hypenet
