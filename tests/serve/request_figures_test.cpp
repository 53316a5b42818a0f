// Lines of the log.
#include "serve/request_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hypenet {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

RequestFigures example() {
  return {.id = "chatcmpl-1",
          .key_name = "team a",
          .route = "/v1/chat/completions",
          .client = "127.0.0.1:4000",
          .finish = "stop",
          .prompt_tokens = 12,
          .answer_tokens = 3,
          .queue_seconds = 0.0012345678,
          .total_seconds = 1.5};
}

TEST(RequestFiguresTest, a_line_names_what_is_known) {
  const std::string line = log_line(example(), false);
  EXPECT_THAT(line, HasSubstr("Z id=chatcmpl-1 key=\"team a\" route=/v1/chat/completions "));
  EXPECT_THAT(line, HasSubstr(" queue_ms=1.235 "));
  EXPECT_THAT(line, EndsWith(" total_ms=1500.0 tier=none client=127.0.0.1:4000"));
  EXPECT_THAT(line, Not(HasSubstr("first_token_ms")));
}

TEST(RequestFiguresTest, nobody_writes_lines_of_others_into_the_log) {
  RequestFigures figures = example();
  figures.id = "a\nstatus=200 \x1b[31m";
  for (const bool as_json : {false, true}) {
    const std::string line = log_line(figures, as_json);
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    EXPECT_THAT(line, Not(HasSubstr("\x1b")));
    EXPECT_THAT(line, HasSubstr("a\\nstatus"));
  }
}

TEST(RequestFiguresTest, a_note_is_a_line_of_the_same_kind) {
  EXPECT_EQ(log_note("keys were read anew", false), "keys were read anew");
  const Json note = Json::parse(log_note("a \"b\"\n", true));
  EXPECT_EQ(note["message"], "a \"b\"\n");
  EXPECT_THAT(note["time"].get<std::string>(), EndsWith("Z"));
}

}  // namespace
}  // namespace hypenet
