// Any cut of a text into tokens gives what cutting the whole text gives.
#include "text/stop_strings.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

Tokenizer byte_tokenizer() {
  const TemporaryFolder folder;
  testing_support::write_byte_tokenizer(folder.path());
  return Tokenizer::load(folder.path());
}

struct Found {
  std::string text;
  bool has_stopped = false;
  bool operator==(const Found&) const = default;
};

Found stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
             const std::vector<std::string>& stops, bool skip_special = true) {
  StopStrings strings(tokenizer, stops, skip_special);
  std::string text;
  for (const int32_t id : ids) text += strings.push(id);
  return {text + strings.finish(), strings.has_stopped()};
}

/// Up to the first place where a stop string ends.
Found cut(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 0; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

std::string random_text(Random& random, int64_t most) {
  std::string text;
  for (int64_t n = random.below(most + 1); n > 0; --n) text += "ab\n"[random.below(3)];
  return text;
}

TEST(StopStrings, equal_cutting_the_whole_text) {
  const Tokenizer bytes = byte_tokenizer();
  const Tokenizer pieces =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  Random random(1);
  int64_t stopped = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = random_text(random, 20);
    std::vector<std::string> stops;
    for (int64_t n = random.below(4); n > 0; --n) stops.push_back(random_text(random, 4));
    const Found expected = cut(text, stops);
    EXPECT_EQ(stream(bytes, bytes.encode(text), stops), expected) << text;
    EXPECT_EQ(stream(pieces, pieces.encode(text), stops), expected) << text;
    stopped += expected.has_stopped;
  }
  EXPECT_GT(stopped, 500);
}

TEST(StopStrings, hold_back_only_what_may_be_a_beginning) {
  const Tokenizer tokenizer = byte_tokenizer();
  StopStrings strings(tokenizer, {"\n\n", "stop"});
  EXPECT_EQ(strings.push('a'), "a");
  EXPECT_EQ(strings.push('s'), "");
  EXPECT_EQ(strings.push('t'), "");
  EXPECT_EQ(strings.push('s'), "st");
  EXPECT_EQ(strings.push('\n'), "s");
  EXPECT_EQ(strings.push('b'), "\nb");
  EXPECT_EQ(strings.push('\n'), "");
  EXPECT_FALSE(strings.has_stopped());
  EXPECT_EQ(strings.push('\n'), "");
  EXPECT_TRUE(strings.has_stopped());
  EXPECT_EQ(strings.push('c'), "");
  EXPECT_EQ(strings.finish(), "");
}

TEST(StopStrings, may_be_special_tokens_where_these_are_not_skipped) {
  const Tokenizer tokenizer = byte_tokenizer();
  const std::vector<int32_t> ids = {'a', 256, 'b'};
  EXPECT_EQ(stream(tokenizer, ids, {"<|end"}), (Found{"ab", false}));
  EXPECT_EQ(stream(tokenizer, ids, {"<|end"}, false), (Found{"a", true}));
}

TEST(StopStrings, leave_a_broken_character_as_it_is) {
  const Tokenizer tokenizer = byte_tokenizer();
  EXPECT_EQ(stream(tokenizer, {'a', 0xF0, 0x9F}, {"x"}), (Found{"a\uFFFD", false}));
}

}  // namespace
}  // namespace hypenet
