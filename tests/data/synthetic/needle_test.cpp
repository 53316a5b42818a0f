// Rows of the recall task: exact length, answers that are in the text, keys of scoring never in
// training.
#include "data/synthetic/needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/synthetic/needle_keys.h"
#include "tests/support/expect_error.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

class Needle : public testing::Test {
 protected:
  /// Prose is one token over and over, so that only needles and questions hold words.
  std::vector<int32_t> prose(int64_t n) const {
    return std::vector<int32_t>(static_cast<size_t>(n), tokenizer_.token_id("~").value());
  }

  NeedleRow row(int64_t length, int64_t needles, int64_t questions, NeedleKeys keys,
                uint64_t seed) const {
    Random random(seed);
    return task_.row(length, needles, questions, keys, random, [&](int64_t n) { return prose(n); });
  }

  struct Fact {
    std::string key, digits;
    bool operator<(const Fact& other) const { return key < other.key; }
  };
  /// What follows each `opening` in the text: "KEY is 4821".
  static std::vector<Fact> find(const std::string& text, const std::string& opening) {
    std::vector<Fact> facts;
    for (size_t at = text.find(opening); at != std::string::npos; at = text.find(opening, at)) {
      at += opening.size();
      const size_t is = text.find(" is ", at);
      facts.push_back({text.substr(at, is - at), text.substr(is + 4, 4)});
    }
    return facts;
  }
  static std::vector<Fact> facts(const std::string& text) {
    return find(text, " The magic number for ");
  }
  static std::vector<Fact> questions(const std::string& text) {
    return find(text, " Question: the magic number for ");
  }
  std::string answer(const NeedleRow& row, size_t i) const {
    return tokenizer_.decode(std::span(row.ids).subspan(static_cast<size_t>(row.answer_starts[i]),
                                                        static_cast<size_t>(row.answer_length)));
  }

  Tokenizer tokenizer_ =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  NeedleTask task_{tokenizer_};
};

TEST_F(Needle, rows_have_exactly_the_length_asked_for) {
  for (const int64_t length : {256, 257, 300, 1024, 4096}) {
    for (const int64_t needles : {1, 2, 4, 8}) {
      EXPECT_EQ(std::ssize(row(length, needles, 1, NeedleKeys::kTraining, 1).ids), length);
      EXPECT_EQ(std::ssize(row(length, needles, 1, NeedleKeys::kHeldOut, 1).ids), length);
    }
  }
}

TEST_F(Needle, answers_are_the_digits_of_the_needle_asked_for) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const auto made = row(300, 4, 3, NeedleKeys::kTraining, seed);
    const std::string text = tokenizer_.decode(made.ids);
    const auto hidden = facts(text), asked = questions(text);
    ASSERT_EQ(hidden.size(), 4u) << text;
    ASSERT_EQ(asked.size(), 3u) << text;
    ASSERT_EQ(made.answer_starts.size(), 3u);
    EXPECT_EQ(std::set<Fact>(hidden.begin(), hidden.end()).size(), 4u) << "keys are distinct";
    EXPECT_EQ(std::set<Fact>(asked.begin(), asked.end()).size(), 3u) << "no question twice";
    for (size_t i = 0; i < 3; ++i) {
      const auto fact = std::find_if(hidden.begin(), hidden.end(),
                                     [&](const Fact& f) { return f.key == asked[i].key; });
      ASSERT_NE(fact, hidden.end());
      EXPECT_EQ(asked[i].digits, fact->digits);
      EXPECT_EQ(answer(made, i), fact->digits);
    }
  }
}

TEST_F(Needle, training_rows_end_behind_the_last_full_stop) {
  const auto made = row(300, 4, 4, NeedleKeys::kTraining, 5);
  EXPECT_EQ(made.ids.back(), tokenizer_.token_id(".").value());
  EXPECT_EQ(made.answer_starts.back() + made.answer_length + 1, 300);
}

TEST_F(Needle, scoring_rows_end_with_the_last_digit) {
  const auto made = row(300, 4, 1, NeedleKeys::kHeldOut, 5);
  EXPECT_EQ(made.answer_starts, std::vector<int64_t>{296});
  EXPECT_THAT(tokenizer_.decode(made.ids), testing::EndsWith(answer(made, 0)));
}

TEST_F(Needle, needles_are_anywhere_and_questions_at_the_end) {
  std::set<int64_t> tenths;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = tokenizer_.decode(row(600, 1, 1, NeedleKeys::kTraining, seed).ids);
    tenths.insert(static_cast<int64_t>(10 * text.find(" The magic") / text.size()));
    EXPECT_EQ(text.find('~', text.find(" Question")), std::string::npos);
  }
  EXPECT_GE(tenths.size(), 9u);
}

TEST_F(Needle, the_same_stream_gives_the_same_row) {
  EXPECT_EQ(row(400, 8, 4, NeedleKeys::kTraining, 9).ids,
            row(400, 8, 4, NeedleKeys::kTraining, 9).ids);
  EXPECT_NE(row(400, 8, 4, NeedleKeys::kTraining, 9).ids,
            row(400, 8, 4, NeedleKeys::kTraining, 10).ids);
}

TEST_F(Needle, held_out_keys_never_train) {
  std::set<std::string> training, held_out;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    for (const Fact& fact :
         facts(tokenizer_.decode(row(300, 8, 1, NeedleKeys::kTraining, seed).ids)))
      training.insert(fact.key);
    for (const Fact& fact :
         facts(tokenizer_.decode(row(300, 8, 1, NeedleKeys::kHeldOut, seed).ids)))
      held_out.insert(fact.key);
  }
  EXPECT_GT(training.size(), 200u);
  EXPECT_GT(held_out.size(), 60u);
  std::vector<std::string> both;
  std::set_intersection(training.begin(), training.end(), held_out.begin(), held_out.end(),
                        std::back_inserter(both));
  EXPECT_THAT(both, testing::IsEmpty());
}

TEST_F(Needle, keys_are_different_words_of_three_tokens_at_most) {
  const auto nouns = needle_nouns();
  EXPECT_EQ(std::set<std::string_view>(nouns.begin(), nouns.end()).size(), nouns.size());
  size_t held_out = 0;
  for (size_t i = 0; i < nouns.size(); ++i) held_out += is_held_out_noun(i);
  EXPECT_NEAR(static_cast<double>(held_out) / static_cast<double>(nouns.size()), 0.25, 0.01);
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const Fact& fact :
         facts(tokenizer_.decode(row(300, 8, 1, NeedleKeys::kTraining, seed).ids))) {
      EXPECT_LE(tokenizer_.encode(" " + fact.key).size(), 3u);
    }
  }
}

TEST_F(Needle, a_row_is_the_encoding_of_its_own_text) {
  Random random(2);
  const auto space = tokenizer_.encode(" The whole world");
  const auto made = task_.row(41, 1, 1, NeedleKeys::kTraining, random, [&](int64_t n) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < n; ++i) ids.push_back(space[static_cast<size_t>(i) % space.size()]);
    return ids;
  });
  EXPECT_EQ(tokenizer_.encode(tokenizer_.decode(made.ids)), made.ids);
}

TEST_F(Needle, the_shortest_row_has_no_prose_and_a_shorter_one_is_refused) {
  int64_t shortest = 10;
  while (true) {
    try {
      const auto made = row(shortest, 1, 1, NeedleKeys::kTraining, 3);
      EXPECT_EQ(tokenizer_.decode(made.ids).find('~'), std::string::npos);
      break;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(),
                  testing::HasSubstr("needle row: expected room for its needles and questions"));
      ASSERT_LT(++shortest, 60);
    }
  }
  EXPECT_GT(shortest, 20);
}

TEST_F(Needle, counts_out_of_range_are_refused) {
  const std::vector<std::pair<int64_t, int64_t>> counts = {{0, 0}, {1, 0}, {1, 2}, {9, 1}, {2, -1}};
  for (const auto& [needles, questions] : counts) {
    EXPECT_ERROR(row(1000, needles, questions, NeedleKeys::kTraining, 1),
                 "needle row: expected 1 <= questions <= needles <= 8");
  }
}

TEST_F(Needle, prose_of_the_wrong_length_is_refused) {
  Random random(1);
  EXPECT_THROW(
      task_.row(300, 1, 1, NeedleKeys::kTraining, random, [&](int64_t n) { return prose(n - 1); }),
      Error);
}

TEST(NeedleTokenizer, must_give_each_digit_a_token_of_its_own) {
  Json definition = read_json(tokenizer_data() / "llama3-like" / "tokenizer.json");
  EXPECT_NO_THROW(NeedleTask{load_json(definition)}) << "as long as no merge joins digits";
  definition["added_tokens"] = Json::array();
  definition["model"]["vocab"]["12"] = definition["model"]["vocab"].size();
  definition["model"]["merges"].push_back("1 2");
  EXPECT_ERROR(
      NeedleTask{load_json(definition)},
      "needle task: expected a tokenizer that gives each digit a token of its own, found 3");
}

TEST(NeedleTokenizer, may_be_another_one) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_data() / "qwen3-cut");
  Random random(1);
  const auto row =
      NeedleTask(tokenizer).row(200, 2, 1, NeedleKeys::kHeldOut, random, [&](int64_t n) {
        return std::vector<int32_t>(static_cast<size_t>(n), tokenizer.token_id("~").value());
      });
  EXPECT_EQ(row.ids.size(), 200u);
}

}  // namespace
}  // namespace hypenet
