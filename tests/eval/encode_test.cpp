// Requests as tokens, against lm-evaluation-harness's definitions, written plainly.
#include "eval/encode.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

Tokenizer tiny_tokenizer() {
  return Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models/tiny-teacher");
}

Tokenizer byte_tokenizer() {
  const TemporaryFolder folder;
  testing_support::write_byte_tokenizer(folder.path());
  return Tokenizer::load(folder.path());
}

EvalRequest rolling(const std::string& text) {
  return {.kind = RequestKind::kRolling, .context = text};
}

EvalRequest likelihood(const std::string& context, const std::string& continuation) {
  return {.context = context, .continuation = continuation};
}

EvalRequest prompt(const std::string& context, int64_t max_tokens) {
  return {.kind = RequestKind::kGenerate, .context = context, .max_tokens = max_tokens};
}

std::vector<int32_t> bytes(const std::string& text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

TEST(EncodeTest, continuation_follows_the_context_by_count_of_tokens) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const std::string context = "Question: what is th", continuation = "e sun?";
  const auto before = tokenizer.encode(context), whole = tokenizer.encode(context + continuation);
  ASSERT_NE(before.back(), whole[before.size() - 1]) << "the merge must cross the border";
  const auto row = encode_request(tokenizer, likelihood(context, continuation), 256).parts.at(0);
  std::vector<int32_t> expected = before;
  expected.insert(expected.end(), whole.begin() + static_cast<int64_t>(before.size()), whole.end());
  EXPECT_EQ(row.ids, expected);
  EXPECT_EQ(row.first_scored, static_cast<int64_t>(before.size()));
}

TEST(EncodeTest, trailing_space_of_the_context_moves_to_the_continuation) {
  const Tokenizer tokenizer = tiny_tokenizer();
  for (const std::string space : {" ", "\n\n", " \t", "\xC2\xA0", "\xE3\x80\x80", "\x1F"}) {
    const auto moved = encode_request(tokenizer, likelihood("Answer:" + space, "yes"), 256);
    const auto plain = encode_request(tokenizer, likelihood("Answer:", space + "yes"), 256);
    EXPECT_EQ(moved.parts[0].ids, plain.parts[0].ids);
    EXPECT_EQ(moved.parts[0].first_scored, plain.parts[0].first_scored);
  }
}

TEST(EncodeTest, no_context_is_the_prefix_token) {
  const Tokenizer tokenizer = byte_tokenizer();
  for (const std::string context : {"", "  "}) {
    const auto row = encode_request(tokenizer, likelihood(context, "ab"), 64).parts.at(0);
    EXPECT_EQ(row.ids.front(), 256);
    EXPECT_EQ(row.ids.back(), 'b');
    EXPECT_EQ(row.first_scored, 1);
  }
}

TEST(EncodeTest, long_rows_are_cut_on_the_left_to_one_more_than_the_model_reads) {
  const Tokenizer tokenizer = byte_tokenizer();
  const auto cut = encode_request(tokenizer, likelihood("0123456789", "abc"), 5);
  EXPECT_TRUE(cut.is_cut);
  EXPECT_FALSE(encode_request(tokenizer, likelihood("0123456789", "abc"), 12).is_cut);
  const ScoredRow& row = cut.parts.at(0);
  EXPECT_THAT(row.ids, ElementsAreArray(bytes("789abc")));
  EXPECT_EQ(row.first_scored, 3);
  const auto full = encode_request(tokenizer, likelihood("0123456789", "abc"), 3).parts.at(0);
  EXPECT_THAT(full.ids, ElementsAreArray(bytes("9abc")));
  EXPECT_EQ(full.first_scored, 1);
  EXPECT_ERROR(encode_request(tokenizer, likelihood("0123456789", "abc"), 2),
               "continuation \"abc\": expected at most 2 tokens, found 3");
}

TEST(EncodeTest, many_requests_are_encoded_as_one_by_one) {
  const Tokenizer tokenizer = tiny_tokenizer();
  std::vector<EvalRequest> all = {likelihood("", "ab"), prompt("abc ", 4), rolling("a page")};
  for (int i = 0; i < 100; ++i) {
    all.push_back(likelihood(concat("Question ", i / 4, "?"), concat(" answer ", i)));
  }
  all.push_back(likelihood("", "ab"));
  const auto encoded = encode_requests(tokenizer, addresses_of(all), 64);
  ASSERT_EQ(encoded.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(request_key(all[i], encoded[i], {}),
              request_key(all[i], encode_request(tokenizer, all[i], 64), {}))
        << i;
  }
  EXPECT_TRUE(encode_requests(tokenizer, {}, 64).empty());
}

TEST(EncodeTest, of_many_requests_the_first_error_is_told) {
  const Tokenizer tokenizer = byte_tokenizer();
  std::vector<EvalRequest> all(40, likelihood("ab", "c"));
  for (size_t i = 3; i < all.size(); ++i) all[i].continuation = std::string(i, 'x');
  EXPECT_ERROR(encode_requests(tokenizer, addresses_of(all), 4),
               "expected at most 4 tokens, found 5");
}

TEST(EncodeTest, nothing_to_score_is_an_error) {
  const Tokenizer tokenizer = byte_tokenizer();
  EXPECT_ERROR(encode_request(tokenizer, likelihood("abc", ""), 64), "expected at least one token");
  EXPECT_ERROR(encode_request(tokenizer, rolling(""), 64), "expected at least one token");
}

/// The harness's windows: each is input tokens and how many of its last positions count.
std::vector<ScoredRow> plain_windows(const std::vector<int32_t>& tokens, int32_t prefix, size_t L) {
  std::vector<ScoredRow> rows;
  const size_t first = std::min(L, tokens.size());
  std::vector<int32_t> input = {prefix};
  for (size_t i = 0; i + 1 < first; ++i) input.push_back(tokens[i]);
  rows.push_back({input, static_cast<int64_t>(input.size() - first) + 1});
  rows.back().ids.push_back(tokens[first - 1]);
  for (size_t p = first; p < tokens.size();) {
    const size_t n = std::min(L, tokens.size() - p), end = p + n;
    input.clear();
    for (size_t i = end - L - 1; i < end - 1; ++i) input.push_back(tokens[i]);
    rows.push_back({input, static_cast<int64_t>(input.size() - n) + 1});
    rows.back().ids.push_back(tokens[end - 1]);
    p = end;
  }
  return rows;
}

TEST(EncodeTest, rolling_windows_are_those_of_the_plain_definition) {
  const Tokenizer tokenizer = byte_tokenizer();
  const std::string text = "the quick brown fox jumps";
  for (const size_t length : {1, 2, 5, 8, 24, 25, 26, 100}) {
    const auto windows =
        encode_request(tokenizer, rolling(text), static_cast<int64_t>(length)).parts;
    const auto expected = plain_windows(bytes(text), 256, length);
    ASSERT_EQ(windows.size(), expected.size()) << length;
    std::vector<int32_t> scored;
    for (size_t i = 0; i < windows.size(); ++i) {
      EXPECT_EQ(windows[i].ids, expected[i].ids);
      EXPECT_EQ(windows[i].first_scored, expected[i].first_scored);
      scored.insert(scored.end(), windows[i].ids.begin() + windows[i].first_scored,
                    windows[i].ids.end());
    }
    EXPECT_EQ(scored, bytes(text)) << "each token once";
  }
}

TEST(EncodeTest, prompts_leave_room_for_the_answer_and_keep_their_space) {
  const Tokenizer tokenizer = byte_tokenizer();
  EXPECT_THAT(encode_request(tokenizer, prompt("abc ", 4), 64).prompt,
              ElementsAreArray(bytes("abc ")));
  EXPECT_THAT(encode_request(tokenizer, prompt("0123456789", 4), 7).prompt,
              ElementsAre('7', '8', '9'));
  EXPECT_TRUE(encode_request(tokenizer, prompt("0123456789", 4), 7).is_cut);
  EXPECT_FALSE(encode_request(tokenizer, prompt("012", 4), 7).is_cut);
  EXPECT_ERROR(encode_request(tokenizer, prompt("abc", 7), 7),
               "tokens of an answer: expected 1 to 6 (the model reads 7), found 7");
}

TEST(EncodeTest, a_prompt_made_for_a_length_is_read_whole_beyond_what_the_model_was_made_for) {
  const Tokenizer tokenizer = byte_tokenizer();
  EvalRequest request = prompt("0123456789", 4);
  request.length = 14;
  EXPECT_THAT(encode_request(tokenizer, request, 7).prompt, ElementsAreArray(bytes("0123456789")));
  EXPECT_FALSE(encode_request(tokenizer, request, 7).is_cut);
  request.length = 13;
  EXPECT_THAT(encode_request(tokenizer, request, 7).prompt, ElementsAreArray(bytes("123456789")));
  request.length = 5;  // less than the model reads
  EXPECT_THAT(encode_request(tokenizer, request, 64).prompt, ElementsAreArray(bytes("0123456789")));
}

TEST(EncodeTest, answers_are_cut_at_each_stop_in_turn) {
  EXPECT_EQ(cut_answer(" 1945.\nNext: 3", std::vector<std::string>{"\n"}), " 1945.");
  EXPECT_EQ(cut_answer("a b\nc", std::vector<std::string>{"\n", " "}), "a");
  EXPECT_EQ(cut_answer("a", std::vector<std::string>{"", "x"}), "a");
  EXPECT_EQ(cut_answer("\n", std::vector<std::string>{"\n"}), "");
}

TEST(EncodeTest, keys_tell_what_decides_an_answer) {
  const Tokenizer tokenizer = byte_tokenizer();
  const std::vector<int32_t> stops = {256};
  const auto key = [&](const EvalRequest& request) {
    return request_key(request, encode_request(tokenizer, request, 64), stops);
  };
  EXPECT_EQ(key(likelihood("ab", "c")), key(likelihood("ab", "c")));
  EXPECT_EQ(key(likelihood("ab ", "c")), key(likelihood("ab", " c")));
  EXPECT_NE(key(likelihood("ab", "c")), key(likelihood("a", "bc")));
  EvalRequest request = prompt("ab", 4);
  std::set<std::string> keys = {key(request), key(likelihood("ab", "c")), key(prompt("ab", 5))};
  request.until = {"x"};
  keys.insert(key(request));
  request.until = {"x", "y"};
  keys.insert(key(request));
  request.until = {"xy"};
  keys.insert(key(request));
  EXPECT_EQ(keys.size(), 6U);
  EXPECT_EQ(key(request).size(), 32U);
}

}  // namespace
}  // namespace hypenet
