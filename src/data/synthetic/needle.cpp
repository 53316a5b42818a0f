// Rows are put together from token ids, never from text, so that their length is exact.
#include "data/synthetic/needle.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/synthetic/needle_keys.h"
#include "data/synthetic/needle_sentences.h"

namespace hypenet {

namespace {

constexpr int64_t kMostNeedles = 8;
constexpr size_t kMostKeyTokens = 3;
constexpr int64_t kAnswerDigits = 4;

constexpr std::string_view kNeedlePrefix = " The magic number for";
constexpr std::string_view kQuestionPrefix = " Question: the magic number for";
constexpr std::string_view kMiddle = " is ";
constexpr std::string_view kEnd = ".";

void append(std::vector<int32_t>& ids, std::span<const int32_t> more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

/// `count` different indices below `size`, in random order.
std::vector<size_t> choose(size_t size, int64_t count, Random& random) {
  std::vector<size_t> indices(size);
  for (size_t i = 0; i < size; ++i) indices[i] = i;
  const auto chosen = static_cast<size_t>(count);
  for (size_t i = 0; i < chosen; ++i) {
    std::swap(indices[i],
              indices[i + static_cast<size_t>(random.below(static_cast<int64_t>(size - i)))]);
  }
  indices.resize(chosen);
  return indices;
}

/// Prose that fills `room` tokens together with the needles.
std::vector<int32_t> take_prose(int64_t room, const std::vector<std::vector<int32_t>>& needles,
                                const std::function<std::vector<int32_t>(int64_t n)>& prose) {
  for (const auto& needle : needles) room -= std::ssize(needle);
  HYPENET_CHECK(room >= 0,
                "needle row: expected room for its needles and questions, found a length that is ",
                -room, " tokens short");
  std::vector<int32_t> text;
  if (room > 0) text = prose(room);
  HYPENET_CHECK(std::ssize(text) == room, "needle row: expected ", room, " tokens of prose, found ",
                text.size());
  return text;
}

/// Prose with the needles between its tokens, each place equally likely.
std::vector<int32_t> scatter(const std::vector<int32_t>& prose,
                             const std::vector<std::vector<int32_t>>& needles, Random& random) {
  std::vector<size_t> places;
  for (size_t i = 0; i < needles.size(); ++i) {
    places.push_back(static_cast<size_t>(random.below(static_cast<int64_t>(prose.size()) + 1)));
  }
  std::sort(places.begin(), places.end());
  std::vector<int32_t> ids;
  size_t done = 0;
  for (size_t i = 0; i < needles.size(); ++i) {
    append(ids, std::span(prose).subspan(done, places[i] - done));
    append(ids, needles[i]);
    done = places[i];
  }
  append(ids, std::span(prose).subspan(done));
  return ids;
}

}  // namespace

std::string needle_sentence(std::string_view key, std::string_view answer) {
  return concat(kNeedlePrefix, " ", key, kMiddle, answer, kEnd);
}

std::string needle_question(std::string_view key) {
  return concat(kQuestionPrefix, " ", key, kMiddle);
}

std::vector<std::string> needle_key_nouns(const Tokenizer& tokenizer, NeedleKeys keys) {
  std::vector<std::string> chosen;
  const auto nouns = needle_nouns();
  for (size_t i = 0; i < nouns.size(); ++i) {
    if (is_held_out_noun(i) != (keys == NeedleKeys::kHeldOut)) continue;
    if (tokenizer.encode(concat(" ", nouns[i])).size() <= kMostKeyTokens) {
      chosen.emplace_back(nouns[i]);
    }
  }
  return chosen;
}

void check_digit_tokens(const Tokenizer& tokenizer) {
  const std::string key = concat(" ", needle_nouns()[0]);
  for (const std::string_view answer : {"0123", "4567", "8901"}) {
    std::vector<int32_t> digits, ids;
    for (const char digit : answer) append(digits, tokenizer.encode(std::string_view(&digit, 1)));
    for (const std::string_view part : {kNeedlePrefix, std::string_view(key), kMiddle}) {
      append(ids, tokenizer.encode(part));
    }
    append(ids, digits);
    append(ids, tokenizer.encode(kEnd));
    HYPENET_CHECK(
        digits.size() == answer.size() &&
            tokenizer.encode(concat(kNeedlePrefix, key, kMiddle, answer, kEnd)) == ids,
        "needle task: expected a tokenizer that gives each digit a token of its own, found ",
        tokenizer.encode(answer).size(), " tokens for ", answer);
  }
}

NeedleTask::NeedleTask(const Tokenizer& tokenizer)
    : needle_prefix_(tokenizer.encode(kNeedlePrefix)),
      question_prefix_(tokenizer.encode(kQuestionPrefix)),
      middle_(tokenizer.encode(kMiddle)),
      end_(tokenizer.encode(kEnd)) {
  for (int digit = 0; digit < 10; ++digit) append(digits_, tokenizer.encode(std::to_string(digit)));
  for (const NeedleKeys kind : {NeedleKeys::kTraining, NeedleKeys::kHeldOut}) {
    auto& keys = kind == NeedleKeys::kHeldOut ? held_out_keys_ : training_keys_;
    for (const std::string& noun : needle_key_nouns(tokenizer, kind)) {
      keys.push_back(tokenizer.encode(" " + noun));
    }
  }
  for (const auto* keys : {&training_keys_, &held_out_keys_}) {
    HYPENET_CHECK(std::ssize(*keys) >= kMostNeedles,
                  "needle task: expected a tokenizer that writes at least ", kMostNeedles,
                  " nouns in ", kMostKeyTokens, " tokens or fewer, found ", keys->size());
  }
  check_digit_tokens(tokenizer);
}

std::vector<int32_t> NeedleTask::needle(const std::vector<int32_t>& key,
                                        const std::vector<int32_t>& digits) const {
  std::vector<int32_t> ids = needle_prefix_;
  append(ids, key);
  append(ids, middle_);
  append(ids, digits);
  append(ids, end_);
  return ids;
}

std::vector<int32_t> NeedleTask::question(const std::vector<int32_t>& key) const {
  std::vector<int32_t> ids = question_prefix_;
  append(ids, key);
  append(ids, middle_);
  return ids;
}

NeedleRow NeedleTask::row(int64_t length, int64_t needles, int64_t questions, NeedleKeys keys,
                          Random& random,
                          const std::function<std::vector<int32_t>(int64_t n)>& prose) const {
  HYPENET_CHECK(1 <= questions && questions <= needles && needles <= kMostNeedles,
                "needle row: expected 1 <= questions <= needles <= ", kMostNeedles,
                ", found questions ", questions, " and needles ", needles);
  const auto& pool = keys == NeedleKeys::kTraining ? training_keys_ : held_out_keys_;
  std::vector<std::vector<int32_t>> row_keys, answers, facts;
  for (const size_t key : choose(pool.size(), needles, random)) {
    row_keys.push_back(pool[key]);
    answers.push_back(draw_answer(random));
    facts.push_back(needle(pool[key], answers.back()));
  }

  const bool is_scoring = keys == NeedleKeys::kHeldOut && questions == 1;
  NeedleRow row;
  std::vector<int32_t> tail;
  for (const size_t asked : choose(facts.size(), questions, random)) {
    append(tail, question(row_keys[asked]));
    row.answer_starts.push_back(std::ssize(tail));
    append(tail, answers[asked]);
    if (!is_scoring) append(tail, end_);
  }
  row.answer_length = kAnswerDigits;
  row.ids = scatter(take_prose(length - std::ssize(tail), facts, prose), facts, random);
  for (int64_t& start : row.answer_starts) start += std::ssize(row.ids);
  append(row.ids, tail);
  return row;
}

std::vector<int32_t> NeedleTask::draw_answer(Random& random) const {
  std::vector<int32_t> digits;
  for (int64_t i = 0; i < kAnswerDigits; ++i) {
    digits.push_back(digits_[static_cast<size_t>(random.below(10))]);
  }
  return digits;
}

}  // namespace hypenet
