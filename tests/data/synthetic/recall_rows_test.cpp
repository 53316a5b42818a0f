// Recall rows: exact length, questions that the row answers, keys that never score, no wording of
// the evaluation's.
#include "data/synthetic/recall_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "data/synthetic/needle_keys.h"
#include "data/synthetic/recall_wordings.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/text/fixture.h"

namespace hypenet {
namespace {

class Recall : public testing::Test {
 protected:
  /// Prose is one token over and over, so that only facts and questions hold words.
  std::vector<int32_t> prose(int64_t n) const {
    return std::vector<int32_t>(static_cast<size_t>(n), tokenizer_.token_id("~").value());
  }

  RecallRow row(int64_t length, uint64_t seed) const {
    Random random(seed);
    return rows_.row(length, random, [&](int64_t n) { return prose(n); });
  }

  /// A row as text, cut before and behind each answer: text, answer, text, answer, ..., text.
  std::vector<std::string> cut(const RecallRow& row) const {
    std::vector<std::string> parts;
    int64_t at = 0;
    const auto take = [&](int64_t end) {
      parts.push_back(tokenizer_.decode(
          std::span(row.ids).subspan(static_cast<size_t>(at), static_cast<size_t>(end - at))));
      at = end;
    };
    for (const AnswerSpan& answer : row.answers) {
      take(answer.start);
      take(answer.start + answer.length);
    }
    take(std::ssize(row.ids));
    return parts;
  }

  Tokenizer tokenizer_ =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  RecallRows rows_{tokenizer_};
};

std::string without_space(const std::string& text) {
  return text.starts_with(' ') ? text.substr(1) : text;
}

/// A number, a word or two words with a hyphen between them.
bool is_value(const std::string& text) {
  const auto all = [&](auto belongs) { return std::ranges::all_of(text, belongs); };
  if (all([](char c) { return '0' <= c && c <= '9'; })) return 4 <= text.size() && text.size() <= 8;
  return !text.empty() && text.front() != '-' && text.back() != '-' &&
         std::ranges::count(text, '-') <= 1 &&
         all([](char c) { return ('a' <= c && c <= 'z') || c == '-'; });
}

/// The wording as text, with the fact in it.
std::string as_text(std::string_view wording, const RecallFact& fact, const Tokenizer& tokenizer) {
  return tokenizer.decode(fill(wording, fact, tokenizer).ids);
}

/// Every wording there is.
std::vector<std::string> all_wordings() {
  std::vector<std::string> wordings = {std::string(kMixedThings), std::string(kRecallListLine)};
  const auto add = [&](const auto& more) {
    wordings.insert(wordings.end(), more.begin(), more.end());
  };
  add(recall_questions());
  add(recall_announcements());
  add(recall_list_questions());
  for (const RecallFrame& frame : recall_frames()) {
    add(std::array{frame.thing, frame.things, frame.owner});
    add(frame.facts);
    add(frame.questions);
  }
  return wordings;
}

TEST_F(Recall, rows_have_exactly_the_length_asked_for) {
  for (const int64_t length : {128, 129, 200, 300, 512, 1024, 4096}) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const auto made = row(length, seed);
      ASSERT_EQ(std::ssize(made.ids), length);
      ASSERT_FALSE(made.answers.empty());
      int64_t end = 0;
      for (const AnswerSpan& answer : made.answers) {
        ASSERT_GE(answer.start, end);
        ASSERT_GT(answer.length, 0);
        end = answer.start + answer.length;
      }
      ASSERT_LE(end, length);
    }
  }
}

TEST_F(Recall, rows_of_several_stretches_have_as_many_times_the_answers) {
  const auto most_answers = [&](int64_t length) {
    size_t most = 0;
    for (uint64_t seed = 0; seed < 100; ++seed) {
      const RecallRow made = row(length, seed);
      EXPECT_EQ(std::ssize(made.ids), length);
      most = std::max(most, made.answers.size());
    }
    return most;
  };
  EXPECT_LE(most_answers(2 * 4096 - 1), 8U);
  EXPECT_GT(most_answers(2 * 4096), 8U);
  const size_t most = most_answers(4 * 4096 + 1);
  EXPECT_GT(most, 16U);
  EXPECT_LE(most, 32U);
}

TEST_F(Recall, answers_are_values_that_occur_earlier) {
  for (const int64_t length : {128, 512, 1024}) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      const auto parts = cut(row(length, seed));
      std::string before;
      for (size_t i = 0; i + 1 < parts.size(); i += 2) {
        before += parts[i];
        const std::string answer = without_space(parts[i + 1]);
        EXPECT_TRUE(is_value(answer)) << answer;
        EXPECT_NE(before.find(answer), std::string::npos) << before << " [" << answer << "]";
        before += parts[i + 1];
      }
    }
  }
}

/// A pattern that finds the facts of every wording: its first two groups are key and value, in the
/// order that `is_key_first` tells.
struct FactPattern {
  std::regex pattern;
  bool is_key_first;
};

std::vector<FactPattern> fact_patterns(const Tokenizer& tokenizer) {
  std::vector<FactPattern> patterns;
  for (const RecallFrame& frame : recall_frames()) {
    for (const std::string_view wording : frame.facts) {
      std::string text = as_text(concat(" ", wording), {&frame, "#", "@"}, tokenizer);
      const size_t key = text.find('#'), value = text.find('@');
      text = std::regex_replace(text, std::regex("\\."), "\\.");
      text = std::regex_replace(text, std::regex("#"), "([a-z]+(?:[- ][a-z]+)?)");
      text = std::regex_replace(text, std::regex("@"), "([0-9]+|[a-z]+(?:-[a-z]+)?)");
      patterns.push_back({std::regex("[ \n]" + text.substr(1)), key < value});
    }
  }
  return patterns;
}

TEST_F(Recall, each_question_is_of_a_key_that_has_the_marked_value_alone) {
  const auto patterns = fact_patterns(tokenizer_);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto made = row(700, seed);
    const std::string text = tokenizer_.decode(made.ids);
    std::map<std::string, std::set<std::string>> values;  // by key
    for (const FactPattern& fact : patterns) {
      for (std::sregex_iterator at(text.begin(), text.end(), fact.pattern), end; at != end; ++at) {
        values[(*at)[fact.is_key_first ? 1 : 2]].insert((*at)[fact.is_key_first ? 2 : 1]);
      }
    }
    const auto parts = cut(made);
    for (size_t i = 1; i < parts.size(); i += 2) {
      // What stands between the answers before and after this one, or the prose.
      const std::string& before = parts[i - 1];
      const std::string asked = before.substr(before.rfind('~') + 1) + "[]" +
                                parts[i + 1].substr(0, parts[i + 1].find('~'));
      const std::set<std::string> answer = {without_space(parts[i])};
      EXPECT_TRUE(std::ranges::any_of(values,
                                      [&](const auto& fact) {
                                        return fact.second == answer &&
                                               asked.find(fact.first) != asked.npos;
                                      }))
          << text << "\n"
          << asked << " [" << *answer.begin() << "]";
    }
  }
}

TEST_F(Recall, keys_and_values_are_nouns_that_are_not_held_out) {
  std::set<std::string> held_out, training;
  const auto nouns = needle_nouns();
  for (size_t i = 0; i < nouns.size(); ++i) {
    (is_held_out_noun(i) ? held_out : training).insert(std::string(nouns[i]));
  }
  // Words that wordings have of their own.
  std::set<std::string> own;
  const auto words_of = [](const std::string& text) {
    std::vector<std::string> words(1);
    for (const char c : text) {
      if ('a' <= c && c <= 'z') {
        words.back() += c;
      } else if (!words.back().empty()) {
        words.emplace_back();
      }
    }
    return words;
  };
  for (const std::string& wording : all_wordings()) {
    for (const std::string& word : words_of(wording)) own.insert(word);
  }
  std::set<std::string> used;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    for (const std::string& word : words_of(tokenizer_.decode(row(600, seed).ids))) {
      if (own.contains(word)) continue;
      EXPECT_FALSE(held_out.contains(word)) << word;
      if (training.contains(word)) used.insert(word);
    }
  }
  EXPECT_GT(used.size(), 200u);
}

TEST_F(Recall, no_wording_is_the_evaluations) {
  for (std::string wording : all_wordings()) {
    std::ranges::transform(wording, wording.begin(),
                           [](unsigned char c) { return std::tolower(c); });
    for (const char* of_ruler :
         {"magic", "special", "one of the special", "mentioned in the provided text",
          "provided text", "hidden within", "the following text", "make sure to memorize",
          "memorize", "quiz", "afterwards", "uuid", "the grass is green"}) {
      EXPECT_EQ(wording.find(of_ruler), std::string::npos) << wording;
    }
  }
}

TEST_F(Recall, wordings_say_key_and_value) {
  const auto has = [](std::string_view text, std::string_view part) {
    return text.find(part) != text.npos;
  };
  for (const RecallFrame& frame : recall_frames()) {
    const RecallFact fact = {&frame, "lamp-river", "58213"};
    std::vector<std::string_view> wordings(frame.facts.begin(), frame.facts.end());
    wordings.insert(wordings.end(), frame.questions.begin(), frame.questions.end());
    wordings.insert(wordings.end(), recall_questions().begin(), recall_questions().end());
    wordings.push_back(kRecallListLine);
    for (const std::string_view wording : wordings) {
      const std::string text = as_text(wording, fact, tokenizer_);
      EXPECT_TRUE(has(text, "lamp-river") && has(text, "58213")) << text;
      EXPECT_FALSE(has(text, "{") || has(text, "}")) << text;
      EXPECT_EQ(fill(wording, fact, tokenizer_).answers.size(), 1u) << text;
    }
  }
}

TEST_F(Recall, rows_are_varied) {
  std::set<std::string> beginnings;
  int64_t announced = 0, inner = 0, listed = 0, words = 0, answers = 0;
  std::set<size_t> counts, digits;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    const auto made = row(1500, seed);
    const std::string text = tokenizer_.decode(made.ids);
    announced += std::ranges::any_of(recall_announcements(), [&](std::string_view wording) {
      return text.starts_with(wording.substr(0, wording.find('{')));
    });
    inner +=
        text.find(
            '~',
            tokenizer_.decode(std::span(made.ids).first(static_cast<size_t>(made.answers[0].start)))
                .size()) != text.npos;
    listed += text.find("\n- ") != text.npos;
    counts.insert(made.answers.size());
    const auto parts = cut(made);
    for (size_t i = 1; i < parts.size(); i += 2) {
      const std::string value = without_space(parts[i]);
      ++answers;
      if (value[0] < 'a') {
        digits.insert(value.size());
      } else {
        ++words;
      }
    }
  }
  EXPECT_NEAR(static_cast<double>(announced), 200, 50);
  EXPECT_GT(inner, 90);
  EXPECT_LT(inner, 220);
  EXPECT_NEAR(static_cast<double>(listed), 52, 30);
  EXPECT_NEAR(static_cast<double>(words) / static_cast<double>(answers), 0.2, 0.08);
  EXPECT_THAT(counts, testing::IsSupersetOf({1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}));
  EXPECT_EQ(digits, (std::set<size_t>{4, 5, 6, 7, 8}));
}

/// Of the rows with two facts or more of one frame.
TEST_F(Recall, half_of_the_rows_of_one_frame_say_all_facts_alike_and_some_share_a_noun) {
  const auto patterns = fact_patterns(tokenizer_);
  int64_t rows = 0, alike = 0, share_noun = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    const std::string text = tokenizer_.decode(row(1500, seed).ids);
    std::set<size_t> wordings, frames;
    std::vector<std::string> keys;
    for (size_t i = 0; i < patterns.size(); ++i) {
      const FactPattern& fact = patterns[i];
      for (std::sregex_iterator at(text.begin(), text.end(), fact.pattern), end; at != end; ++at) {
        wordings.insert(i), frames.insert(i / 4);
        keys.push_back((*at)[fact.is_key_first ? 1 : 2]);
      }
    }
    if (keys.size() < 3 || frames.size() > 1) continue;
    ++rows;
    alike += wordings.size() == 1;
    const auto first_noun = keys[0].substr(0, keys[0].find_first_of("- "));
    const auto last_noun = keys[0].substr(keys[0].find_last_of("- ") + 1);
    share_noun += std::ranges::any_of(std::array{first_noun, last_noun}, [&](const auto& noun) {
      return std::ranges::all_of(keys, [&](const std::string& key) {
        return key.starts_with(noun) || key.ends_with(noun);
      });
    });
  }
  ASSERT_GT(rows, 200);
  const auto share = [&](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(rows);
  };
  EXPECT_NEAR(share(alike), 0.53, 0.12) << "by chance, too, with three facts";
  EXPECT_NEAR(share(share_noun), 0.125, 0.08);
}

TEST_F(Recall, a_fifth_of_the_rows_repeat_their_prose) {
  int64_t repeated = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    rows_.row(2000, random, [&](int64_t n) {
      repeated += n <= 60;
      return prose(n);
    });
  }
  EXPECT_NEAR(static_cast<double>(repeated), 80, 32) << "four standard deviations";
}

TEST_F(Recall, the_same_stream_gives_the_same_row) {
  EXPECT_EQ(row(400, 9).ids, row(400, 9).ids);
  EXPECT_NE(row(400, 9).ids, row(400, 10).ids);
}

TEST_F(Recall, the_shortest_row_fits_whatever_is_drawn_and_a_shorter_one_is_refused) {
  const int64_t shortest = rows_.shortest_length();
  EXPECT_LT(shortest, 100);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    ASSERT_EQ(std::ssize(row(shortest, seed).ids), shortest);
  }
  EXPECT_ERROR(row(shortest - 1, 1), concat("recall row: expected a length of at least ", shortest,
                                            " tokens, found ", shortest - 1));
}

TEST_F(Recall, prose_of_the_wrong_length_is_refused) {
  Random random(1);
  EXPECT_ERROR(rows_.row(300, random, [&](int64_t n) { return prose(n - n / 2); }),
               "recall row: expected ");
}

/// A byte tokenizer that joins each noun behind a space to one token and, of all nouns behind a
/// hyphen, the first alone: for those the shortest length is too low.
Tokenizer load_joining_behind_spaces() {
  const TemporaryFolder folder;
  testing_support::write_byte_tokenizer(folder.path());
  Json definition = read_json(folder / "tokenizer.json");
  Json& vocabulary = definition["model"]["vocab"];
  Json& merges = definition["model"]["merges"];
  const auto join = [&](std::string joined, std::string_view letters) {
    for (const char letter : letters) {
      const std::string longer = joined + letter;
      if (!vocabulary.contains(longer)) {
        merges.push_back(concat(joined, " ", letter));
        const size_t id = vocabulary.size() + 1;  // 256 is the end of text
        vocabulary[longer] = id;
      }
      joined = longer;
    }
  };
  const auto nouns = needle_nouns();
  for (const std::string_view noun : nouns) join(testing_support::character_of_byte(' '), noun);
  join("a", "corn");
  return load_json(definition);
}

TEST(RecallTokenizer, may_write_nouns_in_more_tokens_behind_a_hyphen_than_behind_a_space) {
  const Tokenizer tokenizer = load_joining_behind_spaces();
  ASSERT_EQ(tokenizer.encode(" castle").size(), 1u);
  ASSERT_EQ(tokenizer.encode("-castle").size(), 7u);
  const RecallRows rows(tokenizer);
  const int64_t shortest = rows.shortest_length();
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Random random(seed);
    const auto made = rows.row(shortest, random, [](int64_t n) {
      return std::vector<int32_t>(static_cast<size_t>(n), '~');
    });
    ASSERT_EQ(std::ssize(made.ids), shortest);
    ASSERT_FALSE(made.answers.empty());
  }
}

TEST(RecallTokenizer, may_be_one_that_joins_digits) {
  Json definition = read_json(tokenizer_data() / "llama3-like" / "tokenizer.json");
  const Tokenizer tokenizer = load_json(definition);
  const RecallFrame& frame = recall_frames()[0];
  const RecallPiece piece = fill(" It is {value}.", {&frame, "lamp", "5821"}, tokenizer);
  ASSERT_EQ(piece.answers.size(), 1u);
  const auto [start, length] = piece.answers[0];
  EXPECT_EQ(tokenizer.decode(std::span(piece.ids).subspan(static_cast<size_t>(start),
                                                          static_cast<size_t>(length))),
            "5821");
}

}  // namespace
}  // namespace hypenet
