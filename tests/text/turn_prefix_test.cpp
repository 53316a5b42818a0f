// Where the next turn's text parts from this one's.
#include "text/turn_prefix.h"

#include <gtest/gtest.h>

#include "tests/text/chat_fixture.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

TEST(TurnPrefix, is_whole_where_a_template_only_appends) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_data() / "qwen3-cut");
  for (const std::string name : {"plain_chatml", "qwen25"}) {
    const auto prefixes = turn_prefixes(tokenizer, fixture_template(name));
    ASSERT_EQ(prefixes.size(), 2U);
    for (const TurnPrefix& prefix : prefixes) EXPECT_TRUE(prefix.is_whole()) << name << prefix.end;
    EXPECT_LT(prefixes[0].tokens, prefixes[1].tokens);
  }
}

TEST(TurnPrefix, ends_behind_the_last_question_where_thoughts_are_dropped) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_data() / "qwen3-cut");
  const auto prefixes = turn_prefixes(tokenizer, fixture_template("qwen3"));
  ASSERT_EQ(prefixes.size(), 2U);
  for (const TurnPrefix& prefix : prefixes) {
    EXPECT_EQ(prefix.end, "<|im_start|>assistant\n");
    EXPECT_LT(prefix.shared, prefix.tokens);
  }
}

}  // namespace
}  // namespace hypenet
